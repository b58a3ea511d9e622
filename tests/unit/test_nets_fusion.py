from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dvcp.nets.fusion import FusionNet


@pytest.fixture(scope="module")
def net() -> FusionNet:
    torch.manual_seed(0)
    return FusionNet().eval()


def pictures(height: int = 16, width: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    luma, local, matched = (torch.rand(2, c, height, width, generator=generator) for c in (1, 3, 3))
    return luma, local - torch.tensor([0, 0.5, 0.5])[:, None, None], matched - torch.tensor([0, 0.5, 0.5])[:, None, None]


def test_the_paper_size(net: FusionNet) -> None:
    assert sum(p.numel() for p in net.parameters()) == 152_962


@pytest.mark.parametrize("size", [(8, 8), (9, 31), (33, 20)])
def test_the_result_has_the_size_of_the_frame(net: FusionNet, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        found = net(*pictures(*size))
    assert found.shape == (2, 2, *size) and found.dtype == torch.float32


def test_statistics_of_the_proposals_return_in_the_result(net: FusionNet) -> None:
    luma, local, matched = pictures()
    gain, shift = torch.tensor([1, 0.5, 0.25])[:, None, None], torch.tensor([0, 0.1, -0.2])[:, None, None]
    with torch.inference_mode():
        plain = net(luma, local, matched)
        moved = net(luma, local * gain + shift, matched * gain + shift)
    torch.testing.assert_close(moved, plain * gain[1:] + shift[1:], atol=1e-5, rtol=1e-4)


def test_brighter_film_gives_the_same_colour(net: FusionNet) -> None:
    luma, local, matched = pictures()
    gain, shift = torch.tensor([0.5, 1, 1])[:, None, None], torch.tensor([0.2, 0, 0])[:, None, None]
    with torch.inference_mode():
        brighter = net(luma * 0.5 + 0.2, local * gain + shift, matched * gain + shift)
        torch.testing.assert_close(brighter, net(luma, local, matched), atol=1e-5, rtol=1e-4)


def test_an_untrained_network_follows_the_local_branch(net: FusionNet) -> None:
    luma, local, matched = pictures()
    with torch.inference_mode():
        found = net(luma, local, matched)
    assert (found - local[:, 1:]).abs().mean() < (found - matched[:, 1:]).abs().mean() / 3


def test_frames_of_a_batch_do_not_touch(net: FusionNet) -> None:
    arguments = pictures()
    with torch.inference_mode():
        both = net(*arguments)
        torch.testing.assert_close(net(*(a[1:] for a in arguments)), both[1:], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_flat_gray_pictures_stay_finite_and_almost_gray(net: FusionNet, dtype: torch.dtype) -> None:
    flat = torch.zeros(1, 3, 12, 12)
    with torch.inference_mode():
        found = FusionNet().to(dtype)(flat[:, :1], flat, flat) if dtype != torch.float32 else net(flat[:, :1], flat, flat)
    assert found.isfinite().all() and found.abs().max() < 0.02
