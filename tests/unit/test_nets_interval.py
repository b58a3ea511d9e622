from __future__ import annotations

import pytest
import torch

from dvcp.nets.interval import behind, between
from dvcp.nets.tcvc import FeatureFusion
from dvcp.ops.flow import warp


def shifted(n: int, x: float) -> torch.Tensor:
    """Motion of n frames, ``x`` pixels to the right each."""
    return torch.tensor([x, 0.0])[:, None, None].expand(n, 2, 6, 16).clone()


def ramp() -> torch.Tensor:
    return torch.arange(16.0).expand(1, 3, 6, 16).clone()


def fusion() -> FeatureFusion:
    torch.manual_seed(0)
    net = FeatureFusion(3, luma=2, reduced=2, weighting=(4, 4), refine=(4, 4))
    for parameter in net.refine.last.parameters():
        torch.nn.init.zeros_(parameter)
    return net


def test_backward_features_are_the_anchor_s_moved_by_all_motion_between() -> None:
    found = behind(ramp(), shifted(3, 2.0))
    assert len(found) == 4
    for k, steps in enumerate((6, 4, 2, 0)):
        torch.testing.assert_close(found[k][0, 0, 0, :8], torch.arange(8.0) + steps)


def test_forward_features_lie_between_both_sides_and_each_frame_starts_from_the_last() -> None:
    net, first = fusion(), ramp()
    back = behind(ramp() + 100, shifted(4, 0.0)[1:])
    lumas = net.luma_features(torch.zeros(5, 1, 6, 16))
    made = list(between(net, first, lumas, back, shifted(3, 0.0)))
    assert len(made) == 3
    last = first
    for k, (features, weight) in enumerate(made):
        torch.testing.assert_close(features, weight * last + (1 - weight) * back[k])
        last = features


@pytest.mark.parametrize(("odds", "side"), [(30.0, 0), (-30.0, 100)])
def test_a_prior_decides_where_it_is_strong(odds: float, side: int) -> None:
    net, first = fusion(), ramp()
    back = behind(ramp() + 100, shifted(3, 0.0)[1:])
    lumas = net.luma_features(torch.zeros(4, 1, 6, 16))
    made = list(between(net, first, lumas, back, shifted(2, 0.0), torch.full((2, 1, 6, 16), odds)))
    for features, _ in made:
        torch.testing.assert_close(features, ramp() + side, atol=1e-3, rtol=0)


def test_what_is_brought_forward_is_moved() -> None:
    net, first = fusion(), ramp()
    back = behind(ramp(), shifted(2, 0.0)[1:])
    lumas = net.luma_features(torch.zeros(3, 1, 6, 16))
    flow = shifted(1, 1.0)
    ((features, _),) = between(net, first, lumas, back, flow, torch.full((1, 1, 6, 16), 30.0))
    torch.testing.assert_close(features, warp(first, flow), atol=1e-3, rtol=0)
