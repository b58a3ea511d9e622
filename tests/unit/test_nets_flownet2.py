from __future__ import annotations

import pytest
import torch
from skimage.color import gray2rgb, rgb2lab
from torch import Tensor, nn

from dvcp.nets.flownet2 import FlowNet2
from dvcp.nets.flownet2_parts import correlation
from tests.unit import tcvc_release as release

#: that NVIDIA's code prints
PARAMETERS = 162_518_834


@pytest.fixture(scope="module")
def net() -> FlowNet2:
    with torch.device("meta"):
        net = FlowNet2()
    net.load_state_dict(release.tensors(release.shapes(release.FLOWNET2)), assign=True)
    return net.eval().requires_grad_(False)


def noise(*shape: int, seed: int = 5) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_keys_and_shapes_are_the_release() -> None:
    with torch.device("meta"):
        net = FlowNet2()
    found = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    assert found == release.shapes(release.FLOWNET2) and len(found) == 220
    assert sum(p.numel() for p in net.parameters()) == PARAMETERS


def test_correlation_is_as_defined() -> None:
    a, b = noise(2, 3, 6, 12), noise(2, 3, 6, 12, seed=6)
    wanted = torch.cat([release.correlation_by_definition(a[k : k + 1], b[k : k + 1]) for k in range(2)])
    torch.testing.assert_close(correlation(a, b), wanted)


def test_correlation_is_largest_where_the_picture_went() -> None:
    b = noise(1, 32, 40, 40) - 0.5
    a = b.roll((-4, 6), (2, 3))  # what is at (x, y) in a stands 6 to the left and 4 down in b
    best = correlation(a, b)[..., 12:-12, 12:-12].argmax(1)
    assert (best == 21 * (10 + 2) + 10 - 3).all()


def test_the_stack_is_the_written_one(net: FlowNet2) -> None:
    a, b = noise(1, 3, 64, 64) - 0.5, noise(1, 3, 64, 64, seed=6) - 0.5
    wanted = release.Written(release.tensors(release.shapes(release.FLOWNET2))).flownet2(a, b)
    assert wanted.std() > 0.01
    found = net(a, b)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=1e-3 * float(wanted.std()), rtol=0)


class Recorded(FlowNet2):
    """Takes down what the stack is shown, and finds the difference."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.seen: list[Tensor] = []

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        self.seen += [a, b]
        return (a - b)[:, :2]


def test_the_stack_sees_lightness_less_the_mean_of_both_frames_on_a_grid_of_64() -> None:
    net, a, b = Recorded(), noise(1, 1, 40, 70), noise(1, 1, 40, 70, seed=6)
    found = net.flow(a, b)
    light = torch.stack([torch.from_numpy(rgb2lab(gray2rgb(x[0, 0].double().numpy()))[..., 0]).float() / 100 for x in (a, b)])
    rows, columns = torch.arange(64).clamp(max=39), torch.arange(128).clamp(max=69)
    wanted = (light - light.mean())[:, None, None, rows][..., columns].expand(-1, 1, 3, -1, -1)
    torch.testing.assert_close(torch.stack(net.seen), wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, (wanted[0] - wanted[1])[:, :2, :40, :70], atol=1e-5, rtol=0)


def test_each_pair_of_frames_has_its_own_mean() -> None:
    net, a, b = Recorded(), noise(2, 1, 64, 64), noise(2, 1, 64, 64, seed=6)
    net.flow(a, b)
    net.flow(a[1:], b[1:])
    torch.testing.assert_close(net.seen[2], net.seen[4], atol=1e-6, rtol=0)


def test_flow_takes_no_gradient_and_may_enter_what_learns() -> None:
    found = Recorded().flow(noise(2, 1, 5, 7).requires_grad_(), noise(2, 1, 5, 7))
    assert not found.requires_grad and not found.is_inference()
