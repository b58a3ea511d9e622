from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dvcp.colour import ColourSpec
from dvcp.methods.base import Evidence, Window
from dvcp.methods.paper import Branches, DeepPropagation, Settings
from dvcp.nets.sepconv import KernelNet
from dvcp.nets.weights import save_weights
from tests.films import small_weights
from tests.unit.test_methods_networks import FILMS, painted, run, shot


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_weights(tmp_path_factory.mktemp("weights") / "w.safetensors"))


def paper(branches: Branches, weights: str) -> DeepPropagation:
    return DeepPropagation(Settings(branches, weights, device="cpu"))


def test_the_state_is_what_was_left(weights: str) -> None:
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size)
    method, reference = paper("paper-local", weights), painted(spec, luma[0])
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
    method = DeepPropagation(Settings("paper-local", str(tmp_path / "identity.safetensors"), device="cpu"))
    spec, size = FILMS["odd 8 bit 4:2:0"]
    luma = shot(spec, size)
    reference = painted(spec, luma[0])
    found = run(method, luma[1:], reference, spec)
    np.testing.assert_allclose(found.planes, np.repeat(reference.chroma[None], 4, 0), atol=1e-30)
    assert (np.diff(found.confidence.astype(int).mean((1, 2))) < 0).all(), "the film moves away from what the kernels claim"


def test_the_reference_matches_itself(weights: str) -> None:
    spec, size = ColourSpec("bt601", True), (64, 96)
    noise = np.random.default_rng(3).integers(0, 256, (1, *size)).astype(np.uint8)
    reference = painted(spec, noise[0])
    found = run(paper("paper-global", weights), noise, reference, spec)
    np.testing.assert_allclose(found.planes[0], reference.chroma, atol=1e-3)
    assert found.confidence.min() > 250
