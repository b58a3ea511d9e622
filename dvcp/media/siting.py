"""Chroma brought to luma resolution where its samples lie: linear between them, not repeated."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec


class Siting(StrEnum):
    """Where a chroma sample lies among its luma samples: in their middle, as dvcp makes it; on the left one, half way down (MPEG-2,
    H.264); on the upper left one (BT.2020)."""

    CENTER = "center"
    LEFT = "left"
    TOPLEFT = "topleft"


def upsample(
    chroma: NDArray[np.float32], height: int, width: int, spec: ColourSpec, siting: Siting, fields: bool = False
) -> NDArray[np.float32]:
    """Chroma ``[2, Hc, Wc]`` float32 to ``[2, H, W]``, bilinear; beyond the outermost samples the nearest holds.

    Args:
        fields: the picture is two interleaved fields, each with chroma of its own.
    """
    across, down = spec.subsample
    wide = _stretch(chroma, width, across, siting is Siting.CENTER, axis=2)
    if not (fields and down and wide.shape[1] > 1):
        return _stretch(wide, height, down, siting is not Siting.TOPLEFT, axis=1)
    full = np.empty((2, height, width), np.float32)
    for parity in (0, 1):
        rows = (height + 1 - parity) // 2
        full[:, parity::2] = _stretch(wide[:, parity::2], rows, down, siting is not Siting.TOPLEFT, axis=1)
    return full


def _stretch(planes: NDArray[np.float32], length: int, shift: int, centred: bool, axis: int) -> NDArray[np.float32]:
    if not shift:
        return planes
    step = 1 << shift
    offset = (step - 1) / 2 if centred else 0.0
    places = np.clip((np.arange(length) - offset) / step, 0, planes.shape[axis] - 1)
    before = places.astype(np.int64)
    after = np.minimum(before + 1, planes.shape[axis] - 1)
    shape = [1, 1, 1]
    shape[axis] = length
    weight = (places - before).astype(np.float32).reshape(shape)
    low, high = np.take(planes, before, axis), np.take(planes, after, axis)
    stretched: NDArray[np.float32] = low + (high - low) * weight
    return stretched
