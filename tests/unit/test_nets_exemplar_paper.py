from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dvcp.nets.exemplar_paper import VGG19, ColorVidNet, WarpNet
from tests.unit import exemplar_release as release
from tests.unit.exemplar_release import Written

SIZES = [(32, 48), (40, 32)]  # 40: an odd multiple of 8, whose relu5_2 loses half a row
NETS: list[tuple[type[nn.Module], str, int, float]] = [
    (ColorVidNet, release.COLORNET, 65, 32.80), (WarpNet, release.NONLOCAL, 43, 6.92), (VGG19, release.VGG, 32, 20.02),
]  # fmt: skip


def filled(kind: type[nn.Module], table: str) -> nn.Module:
    with torch.device("meta"):
        net = kind()
    net.load_state_dict(release.tensors(table), assign=True)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def colornet() -> ColorVidNet:
    net = filled(ColorVidNet, release.COLORNET)
    assert isinstance(net, ColorVidNet)
    return net


@pytest.fixture(scope="module")
def nonlocal_net() -> WarpNet:
    net = filled(WarpNet, release.NONLOCAL)
    assert isinstance(net, WarpNet)
    return net


@pytest.fixture(scope="module")
def vgg() -> VGG19:
    net = filled(VGG19, release.VGG)
    assert isinstance(net, VGG19)
    return net


def noise(*shape: int, seed: int = 5) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def levels(height: int, width: int) -> list[Tensor]:
    return [noise(1, c, height // s, width // s, seed=s) for c, s in ((128, 2), (256, 4), (512, 8), (512, 16))]


def close(found: Tensor, wanted: np.ndarray, tolerance: float) -> None:
    """The largest error against the spread of what was wanted."""
    assert found.dtype == torch.float32 and tuple(found.shape[1:]) == wanted.shape
    error = np.abs(found[0].double().numpy() - wanted).max() / wanted.std()
    assert error < tolerance, error


@pytest.mark.parametrize("kind, table, count, millions", NETS)
def test_keys_and_shapes_are_the_release(kind: type[nn.Module], table: str, count: int, millions: float) -> None:
    with torch.device("meta"):
        net = kind()
    found = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    assert found == release.shapes(table) and len(found) == count
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("pad, stride, dilation", [("constant", 1, 1), ("constant", 1, 2), ("reflect", 1, 1), ("reflect", 2, 1)])
def test_the_yardstick_convolves_by_definition(pad: str, stride: int, dilation: int) -> None:
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(2, 6, 8)), rng.normal(size=(3, 2, 3, 3)), rng.normal(size=3)
    written = Written({"c.weight": torch.from_numpy(weight), "c.bias": torch.from_numpy(bias)})
    wanted = release.conv_by_definition(x, weight, bias, pad, stride, dilation)
    np.testing.assert_allclose(written.conv("c", x, pad, stride, dilation), wanted, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
def test_vgg_is_the_written_one(vgg: VGG19, size: tuple[int, int]) -> None:
    rgb = noise(1, 3, *size)
    with torch.inference_mode():
        found = vgg(rgb)
    for level, wanted in zip(found, Written(release.tensors(release.VGG)).vgg(rgb[0].double().numpy()), strict=True):
        close(level, wanted, 1e-4)


def test_vgg_sees_blue_first_in_codes_of_caffe(vgg: VGG19) -> None:
    """A red picture, by hand: 255 times (0, 0, 1) less the means of blue, green and red."""
    red = torch.zeros(1, 3, 32, 32)
    red[:, 0] = 1
    seen: list[Tensor] = []
    hook = vgg.get_submodule("conv1_1").register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.inference_mode():
        vgg(red)
    hook.remove()
    torch.testing.assert_close(seen[0][0, :, 3, 4], torch.tensor([-103.939, -116.779, 131.32]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_correspondence_features_are_the_written_ones(nonlocal_net: WarpNet, size: tuple[int, int]) -> None:
    seen, written = levels(*size), Written(release.tensors(release.NONLOCAL))
    joint = written.joint([x[0].double().numpy() for x in seen])
    with torch.inference_mode():
        query, key = nonlocal_net.query(tuple(seen)), nonlocal_net.key(tuple(seen))  # type: ignore[arg-type]
    close(query, written.conv("theta", joint), 1e-4)
    close(key, written.conv("phi", joint), 1e-4)


def test_only_the_direction_of_features_counts(nonlocal_net: WarpNet) -> None:
    """Each level is of unit length at every place, and a place where VGG sees nothing stays nothing."""
    seen = levels(32, 32)
    seen[1][..., 2, 3] = 0
    brighter = [x * (1 + y) for x, y in zip(seen, levels(32, 32), strict=True)]
    scaled = [x * (1 + y[:, :1]) for x, y in zip(seen, levels(32, 32), strict=True)]
    with torch.inference_mode():
        base, same, other = (nonlocal_net.query(tuple(s)) for s in (seen, scaled, brighter))  # type: ignore[arg-type]
    torch.testing.assert_close(same, base, atol=1e-4, rtol=1e-4)
    assert torch.isfinite(base).all() and (other - base).abs().max() > 0.01


@pytest.mark.parametrize("size", SIZES)
def test_colour_is_the_written_one(colornet: ColorVidNet, size: tuple[int, int]) -> None:
    seen = (noise(1, 7, *size) - 0.5) * torch.tensor([100.0, 160, 160, 2, 100, 160, 160])[:, None, None]
    with torch.inference_mode():
        found = colornet(seen)
    wanted = Written(release.tensors(release.COLORNET)).color(seen[0].double().numpy())
    assert wanted.std() > 3 and np.abs(wanted).max() < 127.9, "tanh hides what came before it"
    close(found, wanted, 1e-3)


def test_pictures_of_a_batch_do_not_touch(colornet: ColorVidNet) -> None:
    seen = torch.cat([noise(1, 7, 32, 32, seed=k) for k in range(2)]) * 50
    with torch.inference_mode():
        torch.testing.assert_close(colornet(seen)[1:], colornet(seen[1:]), atol=0.05, rtol=0)
