from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from skimage.color import gray2rgb, lab2rgb, rgb2lab
from torch import Tensor

from dvcp.colour import rgb_to_ycbcr
from dvcp.nets.eccv16 import Eccv16
from dvcp.nets.generator import Generator
from dvcp.nets.siggraph17 import Siggraph17
from tests.unit import tcvc_release as release

Net = Siggraph17 | Eccv16
KINDS: list[tuple[type[Net], str, int, float]] = [(Siggraph17, release.SIGGRAPH17, 107, 34.19), (Eccv16, release.ECCV16, 82, 32.24)]


def filled(kind: type[Net], table: str) -> Net:
    with torch.device("meta"):
        net = kind()
    net.load_state_dict(release.tensors(release.shapes(table)), assign=True)
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind[0].__name__)
def net(request: pytest.FixtureRequest) -> Net:
    return filled(*request.param[:2])


def luma(height: int, width: int, frames: int = 1, seed: int = 3) -> Tensor:
    return torch.rand((frames, 1, height, width), generator=torch.Generator().manual_seed(seed))


def lightness(planes: Tensor) -> np.ndarray:
    """L* of gray by scikit-image, ``[h, w]``."""
    return rgb2lab(gray2rgb(planes[0, 0].double().numpy()))[..., 0]


@pytest.mark.parametrize("kind, table, count, millions", KINDS)
def test_keys_and_shapes_are_the_release(kind: type[Net], table: str, count: int, millions: float) -> None:
    with torch.device("meta"):
        net = kind()
    found = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    assert found == release.shapes(table) and len(found) == count
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == millions


@pytest.mark.filterwarnings("ignore:Conversion from CIE-LAB")
@pytest.mark.parametrize("size", [(16, 24), (32, 8)])
def test_features_then_colours_are_the_written_network(net: Net, size: tuple[int, int]) -> None:
    seen = luma(*size)
    table = release.SIGGRAPH17 if isinstance(net, Siggraph17) else release.ECCV16
    written = release.Written(release.tensors(release.shapes(table)))
    gray = torch.from_numpy(lightness(seen))[None, None]
    features, ab = written.siggraph17(gray) if isinstance(net, Siggraph17) else written.eccv16(gray)
    found = net.features(seen)
    assert found.shape == (1, net.channels, size[0] // net.stride, size[1] // net.stride)
    assert features.std() > 0.1 and ab.std() > 1 and ab.abs().max() < 109
    torch.testing.assert_close(found.double(), features, atol=1e-3 * float(features.std()), rtol=0)
    torch.testing.assert_close(net.ab(found).double(), ab, atol=1e-3 * float(ab.std()), rtol=0)
    rgb = lab2rgb(np.concatenate([lightness(seen)[..., None], ab[0].permute(1, 2, 0).numpy()], -1))
    for matrix in ("bt601", "bt709"):
        wanted = torch.from_numpy(rgb_to_ycbcr(rgb, matrix)[..., 1:]).permute(2, 0, 1)[None].float()
        torch.testing.assert_close(net.colours(found, seen, matrix), wanted, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(8, 8), (13, 18), (1, 1), (20, 33)])
def test_any_size_is_a_picture_whose_edges_go_on(net: Net, size: tuple[int, int]) -> None:
    seen = luma(*size, frames=2)
    rows, columns = (np.minimum(np.arange(-(-side // 8) * 8), side - 1) for side in size)
    whole = net.features(seen[..., rows, :][..., columns])
    found = net.features(seen)
    height, width = (-(-side // net.stride) for side in size)
    torch.testing.assert_close(found, whole[..., :height, :width], atol=1e-5, rtol=1e-4)
    colours = net.colours(found, seen)
    assert colours.shape == (2, 2, *size) and colours.abs().max() <= 0.5


def test_frames_do_not_touch(net: Net) -> None:
    seen = luma(16, 16, frames=2)
    torch.testing.assert_close(net.features(seen)[1:], net.features(seen[1:]), atol=1e-4, rtol=1e-4)


def test_both_are_generators(net: Net) -> None:
    generator: Generator = net
    call = partial(generator.colours, generator.features(luma(8, 8)))
    torch.testing.assert_close(call(luma(8, 8)), call(luma(8, 8), "bt709"), atol=0, rtol=0)


def test_gray_stays_gray() -> None:
    """Where a* and b* are 0, Cb and Cr are."""
    net = filled(Siggraph17, release.SIGGRAPH17)
    torch.nn.init.zeros_(net.model_out[0].bias)  # type: ignore[arg-type]
    assert net.colours(torch.zeros(1, 128, 8, 8), luma(8, 8)).abs().max() < 1e-4
