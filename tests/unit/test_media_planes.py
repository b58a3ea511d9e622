from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dvcp.colour import ColourSpec
from dvcp.media.planes import delivered_aspect, delivered_luma, delivered_planes, delivered_size, requantise
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import ACCESS, LAYER, MASTER, MEZZANINE
from tests.unit.media_clips import make_film, noise


def _film(path: Path, pix_fmt: str = "yuv420p", height: int = 48, width: int = 64, order: int = 1) -> VideoInfo:
    depth = 16 if "16" in pix_fmt else 10 if "10" in pix_fmt else 8
    return probe(make_film(path / "in.mkv", noise(1, height, width, depth), pix_fmt=pix_fmt, tags={"field_order": order}))


def _all(depth: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.arange(1 << depth, dtype=np.uint8 if depth == 8 else np.uint16)


@pytest.mark.parametrize("depth", [10, 12, 16])
@pytest.mark.parametrize("chroma", [False, True])
def test_more_depth_is_a_shift_and_the_way_back_is_exact(depth: int, chroma: bool) -> None:
    eight, deep = ColourSpec(depth=8), ColourSpec(depth=depth)
    wide = requantise(_all(8), eight, deep, chroma)
    np.testing.assert_array_equal(wide, _all(8).astype(np.uint16) << (depth - 8))
    np.testing.assert_array_equal(requantise(wide, deep, eight, chroma), _all(8))


@pytest.mark.parametrize("depth, target", [(10, 8), (12, 8), (16, 8), (12, 10), (16, 10)])
@pytest.mark.parametrize("chroma", [False, True])
def test_less_depth_rounds_half_up_and_stays_in_the_codes(depth: int, target: int, chroma: bool) -> None:
    shift = depth - target
    expected = np.minimum((_all(depth).astype(np.int64) + (1 << (shift - 1))) >> shift, (1 << target) - 1)
    np.testing.assert_array_equal(requantise(_all(depth), ColourSpec(depth=depth), ColourSpec(depth=target), chroma), expected)


@pytest.mark.parametrize("depth", [8, 10, 12, 16])
def test_full_range_becomes_limited(depth: int) -> None:
    full, limited = ColourSpec(depth=depth, full_range=True), ColourSpec(depth=10)
    top = (1 << depth) - 1
    luma = requantise(_all(depth), full, limited)
    assert (luma[0], luma[top]) == (64, 940)
    exact = _all(depth).astype(float) / top * 876 + 64
    assert np.abs(luma - exact).max() <= 0.5
    chroma = requantise(_all(depth), full, limited, chroma=True)
    assert chroma[1 << (depth - 1)] == 512 and np.abs(chroma - ((_all(depth) - (top + 1) / 2) / top * 896 + 512)).max() <= 0.5


def test_equal_depth_and_range_is_no_copy() -> None:
    samples = noise(1, 4, 4)
    assert requantise(samples, ColourSpec(), ColourSpec(subsample=(0, 0))) is samples


def test_chroma_between_the_grids(tmp_path: Path) -> None:
    info = _film(tmp_path)
    luma, chroma = noise(1, 48, 64)[0], noise(2, 24, 32, seed=1)
    _, cb, cr = delivered_planes(luma, chroma, info, MEZZANINE)
    np.testing.assert_array_equal(cb, chroma[0].repeat(2, axis=0).astype(np.uint16) << 2)
    np.testing.assert_array_equal(cr, chroma[1].repeat(2, axis=0).astype(np.uint16) << 2)
    wide = _film(tmp_path, "yuv444p")
    full = noise(2, 48, 64, seed=2)
    _, cb, _ = delivered_planes(luma, full, wide, ACCESS)
    np.testing.assert_array_equal(cb, (full[0].reshape(24, 2, 32, 2).sum((1, 3), dtype=np.int64) + 2) >> 2)


@pytest.mark.parametrize("height", [48, 50])
def test_fields_are_not_mixed(tmp_path: Path, height: int) -> None:
    info = _film(tmp_path, height=height, order=2)
    top, bottom = 40, 200  # colours of the two moments
    chroma = np.full((2, height // 2, 32), top, np.uint8)
    chroma[:, 1::2] = bottom
    _, cb, cr = delivered_planes(noise(1, height, 64)[0], chroma, info, MEZZANINE)
    assert cb.shape == (height, 32)
    for plane in (cb, cr):
        assert (plane[0::2] == top << 2).all() and (plane[1::2] == bottom << 2).all()
    wide = _film(tmp_path, "yuv422p", height, order=2)
    lines = np.full((2, height, 32), top, np.uint8)
    lines[:, 1::2] = bottom
    _, cb, _ = delivered_planes(noise(1, height, 64)[0], lines, wide, ACCESS)
    assert (cb[0 : height // 2 : 2] == top).all() and (cb[1 : height // 2 : 2] == bottom).all()


def test_h264_is_extended_to_even_sizes_and_interlaced_to_fours(tmp_path: Path) -> None:
    assert delivered_size(_film(tmp_path, height=33, width=47), ACCESS) == (34, 48)
    field = _film(tmp_path, height=50, order=3)
    assert delivered_size(field, ACCESS) == (52, 64) and delivered_size(field, MASTER) == (50, 64)
    luma = noise(1, 50, 64)[0]
    made = delivered_luma(luma, field, ACCESS)
    np.testing.assert_array_equal(made[:50], luma)
    np.testing.assert_array_equal(made[50:], luma[[49, 49]])


@pytest.mark.parametrize("pix_fmt, depth, grid, aspect", [
    ("yuv420p", 8, (17, 24), Fraction(4, 3)), ("yuv422p10le", 10, (33, 24), Fraction(8, 3)), ("yuv444p16le", 16, (33, 47), Fraction(4, 3)),
    ("yuv411p", 8, (33, 12), Fraction(16, 3)),
])  # fmt: skip
def test_the_layer_is_the_chroma_planes_under_mid_gray(
    tmp_path: Path, pix_fmt: str, depth: int, grid: tuple[int, int], aspect: Fraction
) -> None:
    info = replace(_film(tmp_path, pix_fmt, 33, 47), sample_aspect=Fraction(4, 3))
    chroma = noise(2, *grid, depth, seed=3)
    y, cb, cr = delivered_planes(noise(1, 33, 47, depth)[0], chroma, info, LAYER)
    assert (y == 1 << (depth - 1)).all() and y.shape == grid == delivered_size(info, LAYER)
    np.testing.assert_array_equal([cb, cr], chroma)
    assert delivered_aspect(info, LAYER) == aspect and delivered_aspect(info, MASTER) == Fraction(4, 3)
