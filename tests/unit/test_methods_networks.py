from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods import create
from dvcp.methods.base import Chroma, Evidence, Fusing, Reference, Window
from dvcp.methods.networks import Networks
from dvcp.store.intermediates import PLANES
from tests.films import small_weights

BRANCHES = ["dvcp", "exemplar", "local", "global", "paper", "paper-local", "paper-global"]
FILMS = {
    "odd 8 bit 4:2:0": (ColourSpec("bt601", depth=8), (33, 47)),
    "10 bit 4:4:4": (ColourSpec("bt709", depth=10, subsample=(0, 0)), (32, 48)),
    "8 bit 4:2:2 full": (ColourSpec("bt601", True, subsample=(1, 0)), (40, 34)),
    "tiny": (ColourSpec("bt601"), (6, 9)),
    "scaled down": (ColourSpec("bt2020", depth=10), (70, 100)),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every network as it is before training."""
    return str(small_weights(tmp_path_factory.mktemp("weights") / "w.safetensors"))


def build(name: str, **options: Any) -> Networks:
    method = create(name, device="cpu", **options)
    assert isinstance(method, Networks)
    return method


@pytest.fixture(scope="module")
def methods(weights: str) -> dict[str, Networks]:
    return {b: build(b, weights=weights, working_height=64) for b in BRANCHES}


def shot(spec: ColourSpec, size: tuple[int, int], count: int = 5) -> NDArray[Any]:
    """A striped picture that drifts, native luma ``[T, H, W]``, read-only as it comes out of shared memory."""
    y, x = np.mgrid[: size[0], : size[1]]
    frames = [0.5 + 0.3 * np.sin(0.5 * (x + k)) * np.cos(0.35 * y) for k in range(count)]
    black, white = spec.luma_scale()
    luma: NDArray[Any] = np.rint(black + np.stack(frames) * (white - black)).astype(spec.dtype)
    luma.flags.writeable = False
    return luma


def painted(spec: ColourSpec, luma: NDArray[Any], in_shot: bool = True) -> Reference:
    rows, columns = spec.chroma_shape(*luma.shape)
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    chroma = np.stack([0.4 * np.sin(x / 5), 0.4 * np.cos(y / 7)]).astype(np.float32)
    chroma.flags.writeable = False
    return Reference(luma, chroma, in_shot, "")


def run(method: Networks, luma: NDArray[Any], reference: Reference, spec: ColourSpec, cuts: tuple[int, ...] = ()) -> Chroma:
    """All frames of ``luma``, in windows cut where asked; what travels between processes is pickled."""
    anchor = pickle.loads(pickle.dumps(method.anchor([reference], spec)))
    state: dict[str, Any] | None = method.start(reference, spec) if reference.in_shot else None
    parts = []
    for first, stop in zip((0, *cuts), (*cuts, len(luma)), strict=True):
        window = Window(tuple(range(first, stop)), luma[first:stop], spec)
        evidence: Evidence = pickle.loads(pickle.dumps(method.match(window, anchor)))
        state, chroma = method.propagate(pickle.loads(pickle.dumps(state)), window, evidence)
        assert state is not None and all(isinstance(v, np.ndarray) for v in state.values())
        parts.append(chroma)
    return Chroma(np.concatenate([p.planes for p in parts]), np.concatenate([p.confidence for p in parts]))


@pytest.mark.parametrize("in_shot", [True, False])
@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize("branches", BRANCHES)
def test_every_branch_colours_every_film(methods: dict[str, Networks], branches: str, film: str, in_shot: bool) -> None:
    spec, size = FILMS[film]
    luma = shot(spec, size, 3)
    found = run(methods[branches], luma[1:], painted(spec, luma[0], in_shot), spec)
    shape = spec.chroma_shape(*size)
    assert found.planes.shape == (2, 2, *shape) and found.planes.dtype == np.float32
    assert found.confidence.shape == (2, *shape) and found.confidence.dtype == np.uint8
    assert np.isfinite(found.planes).all() and np.abs(found.planes).max() <= 0.5 + 1e-3
    assert found.planes.std() > 0.01, "no colour came through"


@pytest.mark.parametrize("branches", BRANCHES)
def test_two_windows_in_one_go_equal_two_calls(methods: dict[str, Networks], branches: str) -> None:
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size)
    reference = painted(spec, luma[0])
    whole = run(methods[branches], luma[1:], reference, spec)
    for cuts in ((2,), (1, 3)):
        parts = run(methods[branches], luma[1:], reference, spec, cuts)
        np.testing.assert_array_equal(parts.planes, whole.planes)
        np.testing.assert_array_equal(parts.confidence, whole.confidence)


@pytest.mark.parametrize("name", ["dvcp", "paper"])
def test_matching_does_not_depend_on_the_window(methods: dict[str, Networks], name: str) -> None:
    spec, size = FILMS["10 bit 4:4:4"]
    luma, method = shot(spec, size), methods[name]
    anchor = method.anchor([painted(spec, luma[0])], spec)
    whole = method.match(Window((1, 2, 3), luma[1:4], spec), anchor)
    alone = method.match(Window((2,), luma[2:3], spec), anchor)
    assert whole.planes is not None and alone.planes is not None and whole.confidence is not None and alone.confidence is not None
    assert whole.planes.dtype == np.float16 and whole.confidence.dtype == np.uint8
    np.testing.assert_array_equal(whole.planes[1], alone.planes[0])
    np.testing.assert_array_equal(whole.confidence[1], alone.confidence[0])


@pytest.mark.parametrize("name", ["local", "paper-local"])
def test_the_local_branch_matches_only_what_lies_outside_the_shot(methods: dict[str, Networks], name: str) -> None:
    spec, size = FILMS["tiny"]
    luma, method = shot(spec, size), methods[name]
    assert method.anchor([painted(spec, luma[0])], spec) is None
    assert method.anchor([painted(spec, luma[0], in_shot=False)], spec) is not None
    assert method.match(Window((1,), luma[1:2], spec), None).planes is None


@pytest.mark.parametrize("name", ["dvcp", "paper"])
@pytest.mark.parametrize("feedback", ["fused", "local"])
def test_what_is_proposed_is_what_is_fused(weights: str, name: str, feedback: str) -> None:
    """Proposals of a window are the same however it is cut, and colours fed back show in the next frame's."""
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma, method = shot(spec, size), build(name, weights=weights, feedback=feedback)
    reference = painted(spec, luma[0])
    anchor, start = method.anchor([reference], spec), method.start(reference, spec)

    def propose(state: Any, first: int, stop: int) -> Any:
        assert isinstance(method, Fusing)
        window = Window(tuple(range(first, stop)), luma[first:stop], spec)
        return method.propose(state, window, method.match(window, anchor))

    _, whole = propose(start, 1, 4)
    state, head = propose(start, 1, 3)
    _, tail = propose(state, 3, 4)
    assert {"gray", "warped", "matched", "sure"} <= whole.keys() <= set(PLANES)
    for plane, planes in whole.items():
        assert planes.dtype == np.uint8 and len(planes) == 3
        np.testing.assert_array_equal(planes, np.concatenate([head[plane], tail[plane]]), plane)
    assert whole["gray"].shape[1:] == (1, 17, 24) and whole["warped"].shape[1:] == (3, 17, 24)
    method = build(name, weights=weights, feedback={"fused": "local", "local": "fused"}[feedback])
    _, other = propose(start, 1, 4)
    np.testing.assert_array_equal(whole["warped"][0], other["warped"][0])
    assert not np.array_equal(whole["warped"][2], other["warped"][2])


@pytest.mark.parametrize("name", ["dvcp", "paper"])
def test_the_digest_says_what_decides_the_picture(weights: str, tmp_path: Path, name: str) -> None:
    def digest(name: str = name, **changed: Any) -> str:
        return build(name, **({"weights": weights} | changed)).digest()

    base = digest()
    assert base == digest()
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(Path(weights).read_bytes())
    assert digest(weights=str(moved)) == base, "the same weights in another place"
    local, matched = ("local", "global") if name == "dvcp" else ("paper-local", "paper-global")
    other = str(small_weights(tmp_path / "other.safetensors", seed=1))
    assert len({base, digest(weights=other), digest(working_height=100), digest(local), digest(matched)}) == 5
