"""Pixel formats whose luma plane we can keep bit for bit, and native access to planes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

#: log2 of the chroma step (horizontal, vertical) by the digits in FFmpeg's names
GRIDS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "440": (0, 1), "411": (2, 0), "410": (2, 2)}
ACCEPTED = "planar YUV 4:2:0, 4:2:2, 4:4:4, 4:4:0, 4:1:1, 4:1:0 and gray, 8 to 16 bits"

_YUV = re.compile(r"yuv(?P<jpeg>j?)(?P<grid>4\d\d)p(?P<depth>\d\d?)?(le|be)?")
_GRAY = re.compile(r"gray(?P<depth>\d\d?)?(le|be)?")


@dataclass(frozen=True)
class PixelLayout:
    """What a pixel format's name says: gray or not, full range by name (``yuvj*``), bits per sample, chroma grid."""

    gray: bool
    jpeg: bool
    depth: int
    subsample: tuple[int, int]


def layout_of(pix_fmt: str) -> PixelLayout | None:
    """Layout of an FFmpeg pixel format, or None for one whose luma we cannot carry (RGB, palette, alpha, packed, semi-planar)."""
    if match := _YUV.fullmatch(pix_fmt):
        grid = GRIDS.get(match["grid"])
        return PixelLayout(False, bool(match["jpeg"]), int(match["depth"] or 8), grid) if grid else None
    if match := _GRAY.fullmatch(pix_fmt):
        return PixelLayout(True, False, int(match["depth"] or 8), (1, 1))
    return None


def yuv_name(depth: int, subsample: tuple[int, int]) -> str:
    """FFmpeg's name of the planar YUV format with this depth and chroma grid."""
    digits = next(name for name, grid in GRIDS.items() if grid == subsample)
    return f"yuv{digits}p" if depth == 8 else f"yuv{digits}p{depth}le"


def plane_view(frame: VideoFrame, index: int, depth: int) -> NDArray[Any]:
    """Samples of one plane, ``[h, w]``, as a view into the frame (valid while the frame lives, writable for frames we made).

    Rows are cut at the plane's width: FFmpeg pads them (854 samples lie in 896 bytes).
    """
    dtype: np.dtype[Any] = np.dtype(np.uint8 if depth == 8 else (">u2" if frame.format.is_big_endian else "<u2"))
    return packed_view(frame, index, dtype)[:, : frame.planes[index].width]


def packed_view(frame: VideoFrame, index: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Whole rows of one plane as items of ``dtype``, ``[h, line size / item size]``, FFmpeg's padding included."""
    plane: Any = frame.planes[index]
    rows: NDArray[Any] = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // dtype.itemsize)
    return rows
