"""Soft match, coarse to fine: for every place of a frame the reference's colours, averaged by likeness.

One wrong cell of a hard match is one wrong patch of colour. Here the best few cells of the whole reference stand for each cell of the frame
(stride 8), their quarters are weighed once more (stride 4), and colours are averaged with those weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: reference cells that stand for each cell of the frame
KEPT = 16
#: cells of the frame matched at a time, so that the full matrix (168 MB for a 480p frame) never stands
_ROWS = 256
#: brings the disagreement of chroma to [0, 1]
_SPREAD = 8.0


@dataclass(frozen=True, eq=False)
class Keys:
    """A reference, or a frame to be matched, cell by cell in row order.

    Attributes:
        coarse: ``[N, C]``, unit vectors, one a cell of stride 8.
        fine: ``[N, 4, C']``, unit vectors of its quarters.
        colours: ``[N, 4, 3]``, Y', Cb, Cr of its quarters; None for a frame.
        grid: (rows, columns) of cells; of the first picture where several are joined.
    """

    coarse: Tensor
    fine: Tensor
    colours: Tensor | None
    grid: tuple[int, int]

    def to(self, device: torch.device) -> Keys:
        """The same on another device."""
        colours = None if self.colours is None else self.colours.to(device)
        return Keys(self.coarse.to(device), self.fine.to(device), colours, self.grid)


def quarters(planes: Tensor) -> Tensor:
    """``[C, 2 r, 2 c]`` to ``[r c, 4, C]``."""
    channels, height, width = planes.shape
    return planes.reshape(channels, height // 2, 2, width // 2, 2).permute(1, 3, 2, 4, 0).reshape(-1, 4, channels)


def whole(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """``[r c, 4, C]`` back to ``[C, 2 r, 2 c]``."""
    rows, columns = grid
    return cells.reshape(rows, columns, 2, 2, -1).permute(4, 0, 2, 1, 3).reshape(-1, rows * 2, columns * 2)


def doubled(planes: Tensor, height: int, width: int) -> Tensor:
    """What was matched on quarters, ``[T, C, 2 r, 2 c]``, on the working grid of ``height`` x ``width`` that the cells cover."""
    return F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]


def keys_of(coarse: Tensor, fine: Tensor, colours: Tensor | None = None) -> Keys:
    """Cells of one frame: ``[C, r, c]``, ``[C', 2 r, 2 c]`` and, for a reference, its picture ``[3, 4 r, 4 c]`` on the working grid."""
    small = None if colours is None else quarters(F.avg_pool2d(colours[None], 2)[0])
    return Keys(coarse.flatten(1).t().contiguous(), quarters(fine), small, (coarse.shape[1], coarse.shape[2]))


def joined(references: Sequence[Keys]) -> Keys:
    """Several references as one: every cell of each is a candidate."""
    if len(references) == 1:
        return references[0]
    coarse, fine = (torch.cat([getattr(r, name) for r in references]) for name in ("coarse", "fine"))
    return Keys(coarse, fine, torch.cat([r.colours for r in references if r.colours is not None]), references[0].grid)


def soft_weights(
    likeness: Tensor, fine: Tensor, reference: Keys, sharpness: Tensor, kept: int = KEPT
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How much each quarter of the likeliest cells counts.

    Args:
        likeness: ``[N, M]``, of some cells of a frame to all of the reference.
        fine: ``[N, 4, C']``, quarters of those cells.
        sharpness: ``[2]``, factors of the likeness at stride 8 and stride 4.

    Returns:
        Likeness of the ``kept`` likeliest cells ``[N, kept]`` and of their quarters ``[N, 4, 4 kept]``, the cells' numbers ``[N, kept]``,
        and the weights of their quarters ``[N, 4, 4 kept]``.
    """
    score, cell = likeness.topk(min(kept, len(reference.coarse)), dim=1)
    near = torch.bmm(fine, reference.fine[cell].flatten(1, 2).transpose(1, 2))
    weight = torch.softmax(near * sharpness[1] + (score * sharpness[0]).repeat_interleave(4, 1)[:, None], 2)
    return score, near, cell, weight


@dataclass(frozen=True, eq=False)
class Match:
    """What was found for a frame, quarter by quarter.

    Attributes:
        colours: ``[3, 2 r, 2 c]``, Y', Cb, Cr.
        cues: ``[4, 2 r, 2 c]`` in [0, 1], how far to trust them: the largest weight (1: one quarter explains the place), likeness of the
            likeliest cell and of the weightiest quarter (low: the reference does not show this), disagreement of the averaged chroma.
    """

    colours: Tensor
    cues: Tensor


def soft_match(frame: Keys, reference: Keys, sharpness: Tensor, kept: int = KEPT) -> Match:
    """Match all cells of ``frame``; ``sharpness`` as in :func:`soft_weights`."""
    assert reference.colours is not None
    found, cues = [], []
    for coarse, fine in zip(frame.coarse.split(_ROWS), frame.fine.split(_ROWS), strict=True):
        score, near, cell, weight = soft_weights(coarse @ reference.coarse.t(), fine, reference, sharpness, kept)
        colours = reference.colours[cell].flatten(1, 2)
        mean = torch.bmm(weight, colours)
        spread = torch.bmm(weight, colours[..., 1:].square().sum(-1, keepdim=True)) - mean[..., 1:].square().sum(-1, keepdim=True)
        largest, which = weight.max(2, keepdim=True)
        alike = (score[:, :1, None].expand_as(largest), near.gather(2, which))
        found.append(mean)
        cues.append(torch.cat([largest, *(2 * a - 1 for a in alike), _SPREAD * spread.clamp(min=0).sqrt()], 2))
    return Match(whole(torch.cat(found), frame.grid), whole(torch.cat(cues), frame.grid).clamp(0, 1))
