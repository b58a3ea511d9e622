"""Pictures as bytes, the form they are kept in for training: full-range codes 0..255, chroma centred at 128."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_NEUTRAL = 128 / 255


def to_codes(planes: Tensor) -> NDArray[np.uint8]:
    """Planes ``[..., C, h, w]`` as uint8. C = 1: in [0, 1]; C = 2: Cb, Cr centred at 0; C = 3: Y', Cb, Cr."""
    return ((planes + _offset(planes)) * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def from_codes(codes: Tensor) -> Tensor:
    """Inverse of :func:`to_codes`, float32."""
    return codes.float() / 255 - _offset(codes)


def _offset(planes: Tensor) -> Tensor:
    channels = planes.shape[-3]
    offset = torch.full((channels, 1, 1), _NEUTRAL, device=planes.device)
    if channels != 2:
        offset[0] = 0
    return offset
