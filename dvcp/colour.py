"""Y'CbCr as a stream carries it: matrix, range, depth and chroma grid, and the arithmetic between samples, unit floats and R'G'B'.

Source of the formulas: ITU-R BT.601-7, BT.709-6, BT.2020-2 (quantisation: BT.709 table 3.4; full range: JFIF).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Matrix = Literal["bt601", "bt709", "bt2020"]

#: (Kr, Kb) of each matrix; Kg = 1 - Kr - Kb
COEFFICIENTS: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}


@dataclass(frozen=True)
class ColourSpec:
    """How the samples of a stream map to light.

    Attributes:
        matrix: Y'CbCr matrix.
        full_range: True for 0..2^depth-1 ("pc"), False for 16..235 scaled ("tv").
        depth: bits per sample, 8..16.
        subsample: log2 of the chroma grid's step (horizontal, vertical): (1, 1) is 4:2:0, (1, 0) 4:2:2, (0, 0) 4:4:4.
        primaries: CICP code (ITU-T H.273), 2 = unspecified, carried through as a tag.
        transfer: CICP code, likewise.
        assumed: True when the stream carried no matrix and it was chosen by frame height; reported, never silent.
    """

    matrix: Matrix = "bt709"
    full_range: bool = False
    depth: int = 8
    subsample: tuple[int, int] = (1, 1)
    primaries: int = 2
    transfer: int = 2
    assumed: bool = False

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """numpy type of one sample."""
        return np.uint8 if self.depth == 8 else np.uint16

    def chroma_shape(self, height: int, width: int) -> tuple[int, int]:
        """Size of the chroma planes of a ``height`` x ``width`` frame (odd sizes round up, as in every codec)."""
        sx, sy = self.subsample
        return -(-height >> sy), -(-width >> sx)

    def luma_scale(self) -> tuple[float, float]:
        """(black, white) code values of Y'."""
        top = float((1 << self.depth) - 1)
        step = float(1 << (self.depth - 8))
        return (0.0, top) if self.full_range else (16.0 * step, 235.0 * step)

    def chroma_scale(self) -> tuple[float, float]:
        """(code value of no colour, code values in one unit of Cb or Cr)."""
        half = float(1 << (self.depth - 1))
        top = float((1 << self.depth) - 1)
        return (half, top) if self.full_range else (half, 224.0 * (1 << (self.depth - 8)))


def luma_to_unit(samples: NDArray[Any], spec: ColourSpec) -> NDArray[np.float32]:
    """Native Y' samples (any shape) to float32, 0 = black, 1 = white; foot- and headroom stay outside [0, 1]."""
    black, white = spec.luma_scale()
    return (samples.astype(np.float32) - np.float32(black)) * np.float32(1.0 / (white - black))


def unit_to_luma(unit: NDArray[Any], spec: ColourSpec) -> NDArray[Any]:
    """Float Y' to native samples, rounded to nearest even and clipped to the legal code range."""
    black, white = spec.luma_scale()
    codes = np.rint(unit.astype(np.float32) * np.float32(white - black) + np.float32(black))
    samples: NDArray[Any] = np.clip(codes, 0, (1 << spec.depth) - 1).astype(spec.dtype)
    return samples


def chroma_to_unit(samples: NDArray[Any], spec: ColourSpec) -> NDArray[np.float32]:
    """Native Cb/Cr samples to float32 centred at 0, nominal range [-0.5, 0.5]."""
    zero, span = spec.chroma_scale()
    return (samples.astype(np.float32) - np.float32(zero)) * np.float32(1.0 / span)


def unit_to_chroma(unit: NDArray[Any], spec: ColourSpec) -> NDArray[Any]:
    """Float Cb/Cr to native samples, rounded to nearest even, clipped to nominal colour range."""
    zero, span = spec.chroma_scale()
    low, high = np.float32(zero - span / 2), np.float32(min(zero + span / 2, (1 << spec.depth) - 1))
    codes = np.rint(unit.astype(np.float32) * np.float32(span) + np.float32(zero))
    samples: NDArray[Any] = np.clip(codes, np.ceil(low), high).astype(spec.dtype)
    return samples


def rgb_to_ycbcr(rgb: NDArray[Any], matrix: Matrix) -> NDArray[Any]:
    """R'G'B' ``[..., 3]`` in [0, 1] to Y' in [0, 1] and Cb, Cr in [-0.5, 0.5], same float dtype."""
    kr, kb = COEFFICIENTS[matrix]
    r, g, b = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    y = kr * r + (1 - kr - kb) * g + kb * b
    return np.stack([y, (b - y) / (2 * (1 - kb)), (r - y) / (2 * (1 - kr))], axis=-1)


def ycbcr_to_rgb(ycc: NDArray[Any], matrix: Matrix) -> NDArray[Any]:
    """Inverse of :func:`rgb_to_ycbcr`; not clipped."""
    kr, kb = COEFFICIENTS[matrix]
    y, cb, cr = ycc[..., 0], ycc[..., 1], ycc[..., 2]
    r = y + 2 * (1 - kr) * cr
    b = y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return np.stack([r, g, b], axis=-1)


def weave(upper: NDArray[Any], lower: NDArray[Any], rows: int) -> NDArray[Any]:
    """Two fields ``[..., h, W]`` as ``rows`` lines ``[..., rows, W]``, the upper one's first; lines a field has too many are dropped."""
    out = np.empty((*upper.shape[:-2], rows, upper.shape[-1]), upper.dtype)
    out[..., 0::2, :] = upper[..., : (rows + 1) // 2, :]
    out[..., 1::2, :] = lower[..., : rows // 2, :]
    return out


def subsample_chroma(full: NDArray[np.float32], spec: ColourSpec, fields: bool = False) -> NDArray[np.float32]:
    """Chroma ``[2, H, W]`` at luma resolution to the stream's grid, by area average (odd edges repeat the last sample); with ``fields``
    each of two interlaced fields by itself."""
    sx, sy = spec.subsample
    if fields and sy:
        upper, lower = (subsample_chroma(full[:, parity::2], spec) for parity in (0, 1))
        return weave(upper, lower, spec.chroma_shape(*full.shape[1:])[0])
    _, h, w = full.shape
    padded = np.pad(full, ((0, 0), (0, (-h) % (1 << sy)), (0, (-w) % (1 << sx))), mode="edge")
    _, ph, pw = padded.shape
    blocks = padded.reshape(2, ph >> sy, 1 << sy, pw >> sx, 1 << sx)
    return np.ascontiguousarray(blocks.mean(axis=(2, 4), dtype=np.float32))


def upsample_chroma(planes: NDArray[Any], height: int, width: int, spec: ColourSpec) -> NDArray[Any]:
    """Chroma ``[..., Hc, Wc]`` to luma resolution by repetition, for display and metrics in which both sides are treated alike."""
    sx, sy = spec.subsample
    return planes.repeat(1 << sy, axis=-2).repeat(1 << sx, axis=-1)[..., :height, :width]
