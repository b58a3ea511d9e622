"""Bring chroma from the working grid to the film's chroma grid along the edges of the full luma.

Fast guided filter (He and Sun 2015): chroma is modelled as ``a Y' + b`` in small windows of the working grid; ``a`` and ``b`` are smooth,
so they, not the colour, are enlarged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def _box(x: Tensor, radius: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, stride=1)


def guided_upsample(chroma: Tensor, guide: Tensor, target: Tensor, radius: int = 2, epsilon: float = 1e-4) -> Tensor:
    """Enlarge ``chroma``.

    Args:
        chroma: float ``[B, 2, h, w]``.
        guide: Y' on the same grid, ``[B, 1, h, w]``.
        target: Y' on the grid wanted, ``[B, 1, H, W]``.

    Returns:
        float ``[B, 2, H, W]``; ``chroma`` itself where the grids are equal.
    """
    if chroma.shape[-2:] == target.shape[-2:]:
        return chroma
    if min(chroma.shape[-2:]) <= 2 * radius:
        return F.interpolate(chroma, size=target.shape[-2:], mode="bilinear", align_corners=False)
    mean_y, mean_c = _box(guide, radius), _box(chroma, radius)
    a = (_box(guide * chroma, radius) - mean_y * mean_c) / (_box(guide * guide, radius) - mean_y * mean_y + epsilon)
    b = mean_c - a * mean_y
    a, b = (F.interpolate(_box(p, radius), size=target.shape[-2:], mode="bilinear", align_corners=False) for p in (a, b))
    return torch.clamp(a * target + b, -0.5, 0.5)
