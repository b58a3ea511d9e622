"""A frame of Y'CbCr as a full-range RGB picture of any depth, and what that costs its luma."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, chroma_to_unit, luma_to_unit, rgb_to_ycbcr, ycbcr_to_rgb
from dvcp.media.siting import Siting, upsample
from dvcp.methods.base import Samples


@dataclass(frozen=True, eq=False)
class RgbPicture:
    """One picture.

    Attributes:
        samples: RGB ``[H, W, 3]``, uint8 for 8 bits, else uint16 below ``1 << depth``.
        luma_error: largest |Y' of these samples - Y' of the film| among pixels that nothing was clipped in, in codes of this depth.
        clipped: share of pixels whose colour lies outside RGB and was cut off, which changes their luma.
    """

    samples: NDArray[Any]
    luma_error: float
    clipped: float


def rgb_of(luma: Samples, chroma: Samples, spec: ColourSpec, depth: int, siting: Siting, fields: bool = False) -> RgbPicture:
    """Native luma ``[H, W]`` and chroma ``[2, Hc, Wc]`` with the stream's own matrix and range to full-range R'G'B', rounded to nearest.

    Args:
        depth: of the picture, 8 to 16 bits.
        siting: of the chroma samples.
        fields: the frame is interlaced.
    """
    height, width = luma.shape
    y = luma_to_unit(luma, spec)
    full = upsample(chroma_to_unit(chroma, spec), height, width, spec, siting, fields)
    rgb = ycbcr_to_rgb(np.stack([y, full[0], full[1]], axis=-1), spec.matrix)
    peak = (1 << depth) - 1
    codes = np.rint(rgb * np.float32(peak))
    outside = ((codes < 0) | (codes > peak)).any(axis=-1)
    samples = np.clip(codes, 0, peak).astype(np.uint8 if depth == 8 else np.uint16)
    back = rgb_to_ycbcr(samples.astype(np.float64) / peak, spec.matrix)[..., 0]
    error = np.where(outside, 0, np.abs(back - y))
    return RgbPicture(samples, float(error.max() * peak), float(outside.mean()))
