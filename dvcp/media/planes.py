"""From the film's own planes to those of a profile: depth, range, chroma grid and size, by integer arithmetic."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, subsample_chroma, upsample_chroma
from dvcp.media.probe import INTERLACED, VideoInfo
from dvcp.media.profiles import Profile
from dvcp.methods.base import Samples

Planes = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def delivered_colour(info: VideoInfo, profile: Profile) -> ColourSpec:
    """How the samples of the film's delivered file map to light."""
    colour = info.colour
    return replace(
        colour,
        depth=profile.depth or colour.depth,
        full_range=colour.full_range if profile.full_range is None else profile.full_range,
        subsample=(0, 0) if profile.colour_only else profile.subsample or colour.subsample,
    )


def delivered_size(info: VideoInfo, profile: Profile) -> tuple[int, int]:
    """(height, width) of the delivered pictures, in samples."""
    if profile.colour_only:
        return info.colour.chroma_shape(info.height, info.width)
    if not profile.even:
        return info.height, info.width
    # a macroblock pair of interlaced H.264 is cropped in fours
    lines = 4 if info.field_order in INTERLACED else 2
    return info.height + -info.height % lines, info.width + info.width % 2


def delivered_aspect(info: VideoInfo, profile: Profile) -> Fraction:
    """Width of a delivered sample over its height: a chroma sample of 4:2:2 is twice as wide as one of luma."""
    if not profile.colour_only:
        return info.sample_aspect
    across, down = info.colour.subsample
    return info.sample_aspect * (1 << across) / (1 << down)


def delivered_luma(luma: Samples, info: VideoInfo, profile: Profile) -> NDArray[Any]:
    """What the profile's encoder is given as luma: ``[..., H, W]`` native to ``[..., H', W']`` of the delivered depth, range and size."""
    colour = delivered_colour(info, profile)
    height, width = delivered_size(info, profile)
    if profile.colour_only:
        return np.full((*luma.shape[:-2], height, width), 1 << (colour.depth - 1), colour.dtype)
    return _extended(requantise(luma, info.colour, colour), height, width)


def delivered_planes(luma: Samples, chroma: Samples, info: VideoInfo, profile: Profile) -> Planes:
    """One delivered frame, Y ``[H', W']``, Cb and Cr on the delivered grid, from native luma ``[H, W]`` and chroma ``[2, Hc, Wc]``."""
    colour = delivered_colour(info, profile)
    on_grid = chroma
    if not profile.colour_only and colour.subsample != info.colour.subsample:
        on_grid = _regrid(chroma, info, colour)
    grid = colour.chroma_shape(*delivered_size(info, profile))
    cb, cr = _extended(requantise(on_grid, info.colour, colour, chroma=True), *grid)
    return delivered_luma(luma, info, profile), cb, cr


def requantise(samples: Samples, source: ColourSpec, target: ColourSpec, chroma: bool = False) -> NDArray[Any]:
    """Samples, of any shape, in another depth and range: rounded half up, clipped to the target's codes; the same array when equal.

    Limited range: a greater depth only shifts, so it is exact, and so is the way back.
    """
    if (source.depth, source.full_range) == (target.depth, target.full_range):
        return samples
    codes: NDArray[Any] = _codes(source.depth, source.full_range, target.depth, target.full_range, chroma)[samples]
    return codes


@lru_cache(maxsize=8)
def _codes(depth: int, full: bool, to_depth: int, to_full: bool, chroma: bool) -> NDArray[Any]:
    """The target's code for each of the source's."""
    (zero, span), (to_zero, to_span) = _scale(depth, full, chroma), _scale(to_depth, to_full, chroma)
    codes = (2 * (np.arange(1 << depth, dtype=np.int64) - zero) * to_span + span) // (2 * span) + to_zero
    clipped: NDArray[Any] = np.clip(codes, 0, (1 << to_depth) - 1).astype(np.uint8 if to_depth == 8 else np.uint16)
    return clipped


def _scale(depth: int, full: bool, chroma: bool) -> tuple[int, int]:
    """(code of zero, codes from 0 to 1) of one plane: ITU-R BT.709 table 3.4, or JFIF for full range."""
    step = 1 << (depth - 8)
    if chroma:
        return 128 * step, (1 << depth) - 1 if full else 224 * step
    return (0, (1 << depth) - 1) if full else (16 * step, 219 * step)


def _extended(planes: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """Planes ``[..., h, w]`` with the last column and line repeated up to this size; the same array when they have it."""
    missing = height - planes.shape[-2], width - planes.shape[-1]
    if not any(missing):
        return planes
    return np.pad(planes, (*((0, 0) for _ in planes.shape[:-2]), (0, missing[0]), (0, missing[1])), mode="edge")


def _regrid(chroma: NDArray[Any], info: VideoInfo, target: ColourSpec) -> NDArray[Any]:
    """Chroma ``[2, Hc, Wc]`` on the target's grid; of an interlaced film each field by itself, since its lines are of another moment."""
    if info.field_order not in INTERLACED or chroma.shape[1] < 2:
        return _averaged(chroma, info.height, info, target)
    woven = np.empty((2, *target.chroma_shape(info.height, info.width)), chroma.dtype)
    for k in (0, 1):
        lines = woven[:, k::2].shape[1]
        field = _averaged(chroma[:, k::2], len(range(k, info.height, 2)), info, target)[:, :lines]
        # 4:2:0 of 50 lines has 13 lines of chroma in one field and 12 in the other
        woven[:, k::2] = np.pad(field, ((0, 0), (0, lines - field.shape[1]), (0, 0)), mode="edge")
    return woven


def _averaged(planes: NDArray[Any], lines: int, info: VideoInfo, target: ColourSpec) -> NDArray[Any]:
    """Chroma ``[2, h, w]`` of ``lines`` lines of luma on the target's grid, by repetition and area average, rounded half up."""
    wide = upsample_chroma(planes, lines, info.width, info.colour).astype(np.float32)
    on_grid: NDArray[Any] = np.floor(subsample_chroma(wide, target) + 0.5).astype(planes.dtype)
    return on_grid
