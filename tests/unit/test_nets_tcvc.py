from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from dvcp.nets.tcvc import FeatureFusion

Lumas = tuple[Tensor, Tensor, Tensor]
SIZES = {"channels": 5, "luma": 3, "reduced": 4, "weighting": (6, 7), "refine": (8, 9)}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def small() -> FeatureFusion:
    torch.manual_seed(1)
    return FeatureFusion(**SIZES)  # type: ignore[arg-type]


def given(net: FeatureFusion) -> tuple[Lumas, list[Tensor]]:
    """Luma features of three frames; behind, behind_next, ahead and before."""
    before, here, after = net.luma_features(noise(3, 1, 6, 8) / 4).split(1)
    return (before, here, after), [noise(1, 5, 6, 8, seed=k) for k in range(1, 5)]


def test_the_paper_s_size_has_1_675_million_parameters() -> None:
    with torch.device("meta"):
        net = FeatureFusion()
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 1_675_305
    assert net.luma_features(torch.zeros(2, 1, 4, 6, device="meta")).shape == (2, 32, 4, 6)


def three(net: FeatureFusion, part: str, x: Tensor) -> Tensor:
    """Three convolutions by the names of their tensors, leaky between."""
    state = net.state_dict()
    for k in (1, 2, 3):
        weight = state[f"{part}.conv{k}.weight"]
        x = F.conv2d(x, weight, state[f"{part}.conv{k}.bias"], padding=weight.shape[-1] // 2)
        if k < 3:
            x = torch.where(x > 0, x, 0.1 * x)
    return x


def test_luma_features_are_two_convolutions() -> None:
    net, seen = small(), noise(2, 1, 6, 8)
    x = F.conv2d(seen, net.state_dict()["luma.0.weight"], net.state_dict()["luma.0.bias"], padding=1)
    x = torch.where(x > 0, x, 0.1 * x)
    wanted = F.conv2d(x, net.state_dict()["luma.2.weight"], net.state_dict()["luma.2.bias"], padding=1)
    torch.testing.assert_close(net.luma_features(seen), wanted)


@pytest.mark.parametrize("detach", [True, False])
def test_fusion_is_the_written_one(detach: bool) -> None:
    net = small()
    lumas, (behind, behind_next, ahead, before) = given(net)
    found, weight = net.fuse(lumas, behind, behind_next, ahead, before, detach=detach)
    wanted = 1 / (1 + torch.exp(-three(net, "weighting", torch.cat([*lumas, behind, ahead], 1))))
    torch.testing.assert_close(weight, wanted)
    mixed = wanted * ahead + (1 - wanted) * behind
    reduced = [three(net, "reduction", x) for x in (behind_next, before, mixed)]
    torch.testing.assert_close(found, mixed + three(net, "refine", torch.cat([*lumas, *reduced], 1)), atol=1e-5, rtol=1e-5)
    assert weight.shape == (1, 1, 6, 8) and weight.std() > 0


@pytest.mark.parametrize("detach", [True, False])
def test_the_refine_network_s_error_stops_at_the_reduction(detach: bool) -> None:
    net = small()
    lumas, features = given(net)
    for x in features:
        x.requires_grad_()
    behind, behind_next, ahead, before = features
    net.fuse(lumas, behind, behind_next, ahead, before, detach=detach)[0].square().sum().backward()
    assert behind.grad is not None and ahead.grad is not None
    assert (behind_next.grad is None) == detach and (before.grad is None) == detach
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
