from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.colour import (
    COEFFICIENTS,
    ColourSpec,
    Matrix,
    chroma_to_unit,
    luma_to_unit,
    rgb_to_ycbcr,
    subsample_chroma,
    unit_to_chroma,
    unit_to_luma,
    upsample_chroma,
    ycbcr_to_rgb,
)

MATRICES: list[Matrix] = ["bt601", "bt709", "bt2020"]
EVERY_SPEC = [ColourSpec("bt709", full, depth) for full in (False, True) for depth in (8, 10, 12, 16)]
RED, GREEN, BLUE, WHITE = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)


def codes(rgb: tuple[float, ...], spec: ColourSpec) -> tuple[int, int, int]:
    """Y', Cb and Cr codes of one colour."""
    y, cb, cr = rgb_to_ycbcr(np.array(rgb, np.float64), spec.matrix)
    return int(unit_to_luma(y, spec)), int(unit_to_chroma(cb, spec)), int(unit_to_chroma(cr, spec))


@pytest.mark.parametrize("spec, rgb, wanted", [
    (ColourSpec("bt601"), RED, (81, 90, 240)), (ColourSpec("bt601"), GREEN, (145, 54, 34)), (ColourSpec("bt601"), BLUE, (41, 240, 110)),
    (ColourSpec("bt709"), RED, (63, 102, 240)), (ColourSpec("bt709"), GREEN, (173, 42, 26)), (ColourSpec("bt709"), BLUE, (32, 240, 118)),
    (ColourSpec("bt709"), (0.75, 0.75, 0), (168, 44, 136)), (ColourSpec("bt709"), (0, 0.75, 0.75), (145, 147, 44)),
    (ColourSpec("bt709", depth=10), RED, (250, 409, 960)), (ColourSpec("bt709", depth=10), WHITE, (940, 512, 512)),
    (ColourSpec("bt2020", depth=10), RED, (294, 387, 960)), (ColourSpec("bt2020", depth=10), GREEN, (658, 189, 100)),
    (ColourSpec("bt2020", depth=12), WHITE, (3760, 2048, 2048)), (ColourSpec("bt2020", depth=12), (0, 0, 0), (256, 2048, 2048)),
    (ColourSpec("bt601", True), RED, (76, 85, 255)), (ColourSpec("bt601", True), WHITE, (255, 128, 128)),
    (ColourSpec("bt601", True), (0, 0, 0), (0, 128, 128)),
])  # fmt: skip
def test_codes_are_those_of_the_recommendations(spec: ColourSpec, rgb: tuple[float, ...], wanted: tuple[int, int, int]) -> None:
    assert codes(rgb, spec) == wanted


@pytest.mark.parametrize("matrix", MATRICES)
def test_rgb_returns_from_ycbcr(matrix: Matrix) -> None:
    rgb = np.random.default_rng(0).random((5, 7, 3))
    ycc = rgb_to_ycbcr(rgb, matrix)
    np.testing.assert_allclose(ycbcr_to_rgb(ycc, matrix), rgb, atol=1e-12)
    assert abs(ycc[..., 1:]).max() <= 0.5 and ycc.dtype == np.float64
    assert rgb_to_ycbcr(rgb.astype(np.float32), matrix).dtype == np.float32
    kr, kb = COEFFICIENTS[matrix]
    np.testing.assert_allclose(ycc[..., 0], rgb @ [kr, 1 - kr - kb, kb])


def test_matrices_differ() -> None:
    found = {tuple(rgb_to_ycbcr(np.array([0.9, 0.2, 0.4]), m).round(6)) for m in MATRICES}
    assert len(found) == 3


@pytest.mark.parametrize("spec", EVERY_SPEC, ids=str)
def test_every_luma_code_returns_from_its_unit(spec: ColourSpec) -> None:
    every: NDArray[Any] = np.arange(1 << spec.depth).astype(spec.dtype)
    unit = luma_to_unit(every, spec)
    back = unit_to_luma(unit, spec)
    np.testing.assert_array_equal(back, every)
    assert unit.dtype == np.float32 and back.dtype == spec.dtype
    black, white = (round(code) for code in spec.luma_scale())
    assert unit[black] == 0 and unit[white] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("spec", EVERY_SPEC, ids=str)
def test_every_nominal_chroma_code_returns_from_its_unit(spec: ColourSpec) -> None:
    zero, span = spec.chroma_scale()
    every: NDArray[Any] = np.arange(np.ceil(zero - span / 2), min(zero + span / 2, (1 << spec.depth) - 1) + 1).astype(spec.dtype)
    unit = chroma_to_unit(every, spec)
    np.testing.assert_array_equal(unit_to_chroma(unit, spec), every)
    assert unit[every == int(zero)] == 0 and abs(unit).max() <= 0.5


def test_samples_are_clipped_and_never_wrap() -> None:
    wild = np.array([-9.0, 9.0])
    assert unit_to_luma(wild, ColourSpec()).tolist() == [0, 255]
    assert unit_to_luma(wild, ColourSpec(depth=10)).tolist() == [0, 1023]
    assert unit_to_chroma(wild, ColourSpec()).tolist() == [16, 240]
    assert unit_to_chroma(wild, ColourSpec(full_range=True)).tolist() == [1, 255]
    assert unit_to_chroma(wild, ColourSpec(depth=10, full_range=True)).tolist() == [1, 1023]


def test_foot_and_headroom_stay_outside_the_unit() -> None:
    unit = luma_to_unit(np.array([0, 255], np.uint8), ColourSpec())
    assert unit[0] < 0 and unit[1] > 1


@pytest.mark.parametrize("subsample, shape", [
    ((1, 1), (3, 4)), ((1, 0), (5, 4)), ((0, 0), (5, 7)), ((0, 1), (3, 7)), ((2, 0), (5, 2)), ((2, 2), (2, 2)),
])  # fmt: skip
def test_chroma_grids_round_up_and_carry_constants(subsample: tuple[int, int], shape: tuple[int, int]) -> None:
    spec = replace(ColourSpec(), subsample=subsample)
    assert spec.chroma_shape(5, 7) == shape
    flat = np.stack([np.full((5, 7), 0.25, np.float32), np.full((5, 7), -0.125, np.float32)])
    small = subsample_chroma(flat, spec)
    assert small.shape == (2, *shape) and small.dtype == np.float32 and small.flags.c_contiguous
    np.testing.assert_array_equal(upsample_chroma(small, 5, 7, spec), flat)


def test_chroma_is_averaged_over_its_area_and_edges_repeat() -> None:
    ramp = np.arange(9, dtype=np.float32).reshape(1, 3, 3).repeat(2, 0)
    small = subsample_chroma(ramp, ColourSpec())
    np.testing.assert_array_equal(small[0], [[(0 + 1 + 3 + 4) / 4, (2 + 5) / 2], [(6 + 7) / 2, 8]])
    np.testing.assert_array_equal(subsample_chroma(upsample_chroma(small, 4, 4, ColourSpec()), ColourSpec()), small)
