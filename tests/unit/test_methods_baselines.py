from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dvcp.colour import ColourSpec
from dvcp.errors import ConfigError
from dvcp.methods import NAMES, SHIPPED, create
from dvcp.methods.base import Method, Reference, Window
from dvcp.methods.dvcp import GuidedPropagation

SPEC = ColourSpec("bt601", full_range=True)
BASELINES = ["gray", "copy", "flow"]


def moving(count: int, height: int, width: int, step: int = 2) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A textured picture that moves right by ``step`` pixels a frame, and its colour at half size: luma ``[T, H, W]``, chroma
    ``[T, 2, H/2, W/2]``."""
    rng = np.random.default_rng(0)
    wide = gaussian_filter(rng.random((height, width + step * count)), 2)
    wide = (wide - wide.min()) / (wide.max() - wide.min())
    luma = np.stack([wide[:, step * (count - k) :][:, :width] for k in range(count)])
    small = luma.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))
    return (luma * 255).astype(np.uint8), np.stack([small - 0.5, 0.5 - small], 1).astype(np.float32)


def coloured(method: Method, luma: NDArray[Any], reference: Reference, spec: ColourSpec = SPEC) -> NDArray[np.float32]:
    """Frames 1, 2, ... from a reference at frame 0."""
    window = Window(tuple(range(1, len(luma))), luma[1:], spec)
    evidence = method.match(window, method.anchor([reference], spec))
    state, found = method.propagate(method.start(reference, spec), window, evidence)
    shape = spec.chroma_shape(*luma.shape[1:])
    assert found.planes.shape == (len(luma) - 1, 2, *shape) and found.planes.dtype == np.float32
    assert found.confidence.shape == (len(luma) - 1, *shape) and found.confidence.dtype == np.uint8
    assert all(isinstance(v, np.ndarray) for v in state.values())
    return found.planes


def test_gray_has_no_colour_and_copy_leaves_it_in_place() -> None:
    luma, chroma = moving(4, 32, 48)
    reference = Reference(luma[0], chroma[0], True, "")
    assert (coloured(create("gray"), luma, reference) == 0).all()
    np.testing.assert_array_equal(coloured(create("copy"), luma, reference), np.repeat(chroma[:1], 3, 0))


def test_flow_follows_what_moves() -> None:
    luma, chroma = moving(6, 64, 96)
    reference = Reference(luma[0], chroma[0], True, "")
    inside = (slice(None), slice(None), slice(4, -4), slice(12, -4))
    flow, copy = (np.abs(coloured(create(n), luma, reference) - chroma[1:])[inside].mean() for n in ("flow", "copy"))
    assert flow < 0.01 < 0.05 < copy


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (8, 300), (300, 8), (20, 22), (24, 24), (33, 47)])
@pytest.mark.parametrize("subsample", [(1, 1), (0, 0)])
def test_small_and_odd_pictures(size: tuple[int, int], subsample: tuple[int, int]) -> None:
    spec = ColourSpec("bt709", depth=10, subsample=subsample)
    luma = np.random.default_rng(0).integers(64, 940, (3, *size)).astype(np.uint16)
    chroma = np.full((2, *spec.chroma_shape(*size)), 0.25, np.float32)
    for name in BASELINES:
        found = coloured(create(name), luma, Reference(luma[0], chroma, True, ""), spec)
        assert name == "gray" or np.allclose(found, 0.25, atol=1e-6), name


@pytest.mark.parametrize("name", BASELINES)
def test_two_windows_in_one_go_equal_two_calls(name: str) -> None:
    luma, chroma = moving(7, 32, 48)
    method, reference = create(name), Reference(luma[0], chroma[0], True, "")
    evidence = method.match(Window((), luma[:0], SPEC), method.anchor([reference], SPEC))
    whole = coloured(method, luma, reference)
    state, parts = method.start(reference, SPEC), []
    for first, stop in ((1, 4), (4, 7)):
        state, found = method.propagate(state, Window(tuple(range(first, stop)), luma[first:stop], SPEC), evidence)
        parts.append(found.planes)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", BASELINES)
def test_a_reference_from_elsewhere(name: str) -> None:
    luma, chroma = moving(3, 32, 48)
    method, reference = create(name), Reference(luma[0], chroma[0], False, "")
    window = Window((0, 1, 2), luma, SPEC)
    _, found = method.propagate(None, window, method.match(window, method.anchor([reference], SPEC)))
    np.testing.assert_allclose(found.planes[0], 0 if name == "gray" else chroma[0], atol=1e-3)


def test_digests_tell_baselines_apart_and_stay() -> None:
    assert len({create(name).digest() for name in BASELINES}) == len(BASELINES)
    assert create("copy").digest() == create("copy").digest()


def test_methods_are_made_by_name() -> None:
    for name in SHIPPED:
        assert create(name).name == name
    assert set(SHIPPED) < set(NAMES)
    method = create("local", working_height=200, weights="w.safetensors")
    assert isinstance(method, GuidedPropagation) and method.settings.working_height == 200
    with pytest.raises(ConfigError, match="no method 'paint'"):
        create("paint")
    with pytest.raises(ConfigError, match="brush"):
        create("dvcp", brush=3)
