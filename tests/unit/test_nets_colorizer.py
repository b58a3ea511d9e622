from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dvcp.errors import ConfigError, WeightsError
from dvcp.nets.colorizer import Colorizer
from dvcp.nets.generators import generator_digest, load_generator
from dvcp.nets.weights import save_weights, weights_digest


@pytest.fixture(scope="module")
def net() -> Colorizer:
    torch.manual_seed(0)
    return Colorizer().eval()


@pytest.mark.parametrize("size", [(64, 96), (37, 50), (8, 8)])
def test_any_size_gives_features_and_colours_at_half_of_it(net: Colorizer, size: tuple[int, int]) -> None:
    luma = torch.rand(2, 1, *size)
    features = net.features(luma)
    half = (-(-size[0] // 2), -(-size[1] // 2))
    assert features.shape == (2, net.channels, *half)
    colours = net.colours(features, luma)
    assert colours.shape == (2, 2, *half) and float(colours.detach().abs().max()) <= 0.5
    torch.testing.assert_close(net(luma), colours)


def test_a_picture_s_colours_do_not_depend_on_what_else_is_in_the_batch(net: Colorizer) -> None:
    luma = torch.rand(3, 1, 64, 64)
    torch.testing.assert_close(net(luma)[1:2], net(luma[1:2]), atol=1e-5, rtol=1e-4)


def test_the_backbone_is_no_part_of_the_weights_and_does_not_learn(net: Colorizer) -> None:
    assert not any("backbone" in name or "trunk" in name for name in net.state_dict())
    net(torch.rand(1, 1, 64, 64)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert not list(net.backbone.parameters())


def test_it_comes_back_from_a_file(net: Colorizer, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"colorizer": net}, {})
    found = load_generator("dvcp", str(path))
    luma = torch.rand(1, 1, 64, 64)
    # stored as float16
    torch.testing.assert_close(found.colours(found.features(luma), luma), net(luma), atol=5e-3, rtol=0)
    assert generator_digest("dvcp", str(path)) == weights_digest(str(path))


def test_wrong_generators_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "w.safetensors", {"other": torch.nn.Conv2d(1, 1, 1)}, {})
    with pytest.raises(WeightsError, match="holds no colorizer"):
        load_generator("dvcp", str(tmp_path / "w.safetensors"))
    with pytest.raises(ConfigError, match="generator 'deoldify'"):
        load_generator("deoldify", "")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_generator("siggraph17", str(tmp_path / "none.pth"))
