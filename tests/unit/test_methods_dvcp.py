from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.dvcp import DeepPropagation, Settings
from dvcp.nets.fusion import FusionNet
from dvcp.nets.sepconv import KernelNet
from dvcp.nets.weights import save_weights

BRANCHES = ["dvcp", "local", "global"]
FILMS = {
    "odd 8 bit 4:2:0": (ColourSpec("bt601", depth=8), (33, 47)),
    "10 bit 4:4:4": (ColourSpec("bt709", depth=10, subsample=(0, 0)), (32, 48)),
    "8 bit 4:2:2 full": (ColourSpec("bt601", True, subsample=(1, 0)), (40, 34)),
    "tiny": (ColourSpec("bt601"), (6, 9)),
    "scaled down": (ColourSpec("bt2020", depth=10), (70, 100)),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """F_w and F_f as they are before training."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(path, {"local": KernelNet(taps=5), "fusion": FusionNet()}, {})
    return str(path)


@pytest.fixture(scope="module")
def methods(weights: str) -> dict[str, DeepPropagation]:
    return {b: DeepPropagation(Settings(branches=b, weights=weights, device="cpu", working_height=64)) for b in BRANCHES}


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


def run(method: DeepPropagation, luma: NDArray[Any], reference: Reference, spec: ColourSpec, cuts: tuple[int, ...] = ()) -> Chroma:
    """All frames of ``luma``, in windows cut where asked; what travels between processes is pickled."""
    anchor = pickle.loads(pickle.dumps(method.anchor(reference, spec)))
    state, parts = method.start(reference, spec), []
    for first, stop in zip((0, *cuts), (*cuts, len(luma)), strict=True):
        window = Window(tuple(range(first, stop)), luma[first:stop], spec)
        evidence: Evidence = pickle.loads(pickle.dumps(method.match(window, anchor)))
        state, chroma = method.propagate(pickle.loads(pickle.dumps(state)), window, evidence)
        assert all(isinstance(v, np.ndarray) for v in state.values())
        parts.append(chroma)
    return Chroma(np.concatenate([p.planes for p in parts]), np.concatenate([p.confidence for p in parts]))


@pytest.mark.parametrize("in_shot", [True, False])
@pytest.mark.parametrize("film", FILMS)
@pytest.mark.parametrize("branches", BRANCHES)
def test_every_branch_colours_every_film(methods: dict[str, DeepPropagation], branches: str, film: str, in_shot: bool) -> None:
    spec, size = FILMS[film]
    luma = shot(spec, size, 3)
    found = run(methods[branches], luma[1:], painted(spec, luma[0], in_shot), spec)
    shape = spec.chroma_shape(*size)
    assert found.planes.shape == (2, 2, *shape) and found.planes.dtype == np.float32
    assert found.confidence.shape == (2, *shape) and found.confidence.dtype == np.uint8
    assert np.isfinite(found.planes).all() and np.abs(found.planes).max() <= 0.5 + 1e-3
    assert found.planes.std() > 0.01, "no colour came through"


@pytest.mark.parametrize("branches", BRANCHES)
def test_two_windows_in_one_go_equal_two_calls(methods: dict[str, DeepPropagation], branches: str) -> None:
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size)
    reference = painted(spec, luma[0])
    whole = run(methods[branches], luma[1:], reference, spec)
    for cuts in ((2,), (1, 3)):
        parts = run(methods[branches], luma[1:], reference, spec, cuts)
        np.testing.assert_array_equal(parts.planes, whole.planes)
        np.testing.assert_array_equal(parts.confidence, whole.confidence)


def test_the_state_is_what_was_left(methods: dict[str, DeepPropagation]) -> None:
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size)
    method, reference = methods["local"], painted(spec, luma[0])
    window = Window((1, 2), luma[1:3], spec)
    state, chroma = method.propagate(method.start(reference, spec), window, Evidence())
    assert state["planes"].shape == (4, 17, 24) and state["planes"].dtype == np.float32
    np.testing.assert_array_equal(state["planes"][1:3], chroma.planes[-1])
    restarted, _ = method.propagate(method.start(reference, spec), Window((2,), luma[2:3], spec), Evidence())
    assert not np.array_equal(restarted["planes"], state["planes"]), "frame 1 leaves no trace"


def test_identity_kernels_keep_colour(tmp_path: Path) -> None:
    net = KernelNet(taps=5)
    with torch.no_grad():
        for head in (net.vertical, net.horizontal):
            head.last.weight.zero_()
            head.last.bias.copy_(torch.tensor([0.0, 0, 200, 0, 0]))
    save_weights(tmp_path / "identity.safetensors", {"local": net}, {})
    method = DeepPropagation(Settings("local", str(tmp_path / "identity.safetensors"), device="cpu"))
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size)
    reference = painted(spec, luma[0])
    found = run(method, luma[1:], reference, spec)
    np.testing.assert_allclose(found.planes, np.repeat(reference.chroma[None], 4, 0), atol=1e-30)
    assert (np.diff(found.confidence.astype(int).mean((1, 2))) < 0).all(), "the film moves away from what the kernels claim"


def test_the_reference_matches_itself(methods: dict[str, DeepPropagation]) -> None:
    spec, size = ColourSpec("bt601", True), (64, 96)
    noise = np.random.default_rng(3).integers(0, 256, (1, *size)).astype(np.uint8)
    reference = painted(spec, noise[0])
    found = run(methods["global"], noise, reference, spec)
    np.testing.assert_allclose(found.planes[0], reference.chroma, atol=1e-3)
    assert found.confidence.min() > 250


def test_matching_does_not_depend_on_the_window(methods: dict[str, DeepPropagation]) -> None:
    spec, size = FILMS["10 bit 4:4:4"]
    luma = shot(spec, size)
    anchor = methods["dvcp"].anchor(painted(spec, luma[0]), spec)
    whole = methods["dvcp"].match(Window((1, 2, 3), luma[1:4], spec), anchor)
    alone = methods["dvcp"].match(Window((2,), luma[2:3], spec), anchor)
    assert whole.planes is not None and alone.planes is not None and whole.confidence is not None and alone.confidence is not None
    assert whole.planes.dtype == np.float16 and whole.confidence.dtype == np.uint8
    np.testing.assert_array_equal(whole.planes[1], alone.planes[0])
    np.testing.assert_array_equal(whole.confidence[1], alone.confidence[0])


def test_the_local_branch_matches_only_what_lies_outside_the_shot(methods: dict[str, DeepPropagation]) -> None:
    spec, size = FILMS["tiny"]
    luma = shot(spec, size)
    assert methods["local"].anchor(painted(spec, luma[0]), spec) is None
    assert methods["local"].anchor(painted(spec, luma[0], in_shot=False), spec) is not None
    assert methods["local"].start(painted(spec, luma[0], in_shot=False), spec) is None
    assert methods["local"].match(Window((1,), luma[1:2], spec), None).planes is None


def test_the_digest_says_what_decides_the_picture(weights: str, tmp_path: Path) -> None:
    settings = Settings(weights=weights, device="cpu")
    base = DeepPropagation(settings).digest()
    assert base == DeepPropagation(settings).digest()
    moved, other = tmp_path / "moved.safetensors", tmp_path / "other.safetensors"
    moved.write_bytes(Path(weights).read_bytes())
    assert DeepPropagation(replace(settings, weights=str(moved))).digest() == base, "the same weights in another place"
    torch.manual_seed(1)
    save_weights(other, {"local": KernelNet(taps=5), "fusion": FusionNet()}, {})
    changed = [replace(settings, weights=str(other)), replace(settings, working_height=100), replace(settings, branches="local"),
               replace(settings, branches="global")]  # fmt: skip
    digests = {base, *(DeepPropagation(s).digest() for s in changed)}
    assert len(digests) == 5
    without = replace(settings, branches="global", weights=str(other))
    assert DeepPropagation(without).digest() in digests, "the global branch has no weights of ours"
