from __future__ import annotations

import pytest
import torch

from dvcp.nets.unet import GAIN, UNet, seen_in


def test_untrained_it_gives_its_bias_everywhere() -> None:
    found = UNet(5, (4, 6), (0.5, -1.0)).refine(torch.rand(2, 5, 9, 7))
    assert found.shape == (2, 2, 9, 7) and found.dtype == torch.float32
    assert torch.equal(found[:, 0], torch.full((2, 9, 7), 0.5)) and torch.equal(found[:, 1], torch.full((2, 9, 7), -1.0))


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 33)])
@torch.no_grad()
def test_any_size_and_the_coarsest_scale_reaches_far(size: tuple[int, int], normed: bool) -> None:
    torch.manual_seed(0)
    net = UNet(1, (16, 16, 16, 16, 16), (0.0,), normed=normed)
    torch.nn.init.normal_(net.last.weight)
    plane = torch.rand(1, 1, *size)
    found = net.refine(plane)
    assert found.shape == plane.shape and bool(found.isfinite().all())
    changed = plane.clone()
    changed[..., -1, -1] += 1
    assert float((net.refine(changed) - found)[..., 0, 0].abs()) > 0, "the far corner is seen"


def test_what_a_network_is_shown_of_a_proposal() -> None:
    luma, proposal = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0.4, 0.1, -0.2])[None, :, None, None].expand(1, 3, 2, 2)
    shown = torch.cat(seen_in(proposal, luma), 1)[0, :, 0, 0]
    torch.testing.assert_close(shown, torch.tensor([-0.1 * GAIN, 0.1 * GAIN, -0.2 * GAIN, 0.2 * GAIN]))


@torch.no_grad()
def test_normed_no_weights_make_it_run_off() -> None:
    torch.manual_seed(0)
    plain, normed = UNet(2, (8, 8, 8), (0.0,)), UNet(2, (8, 8, 8), (0.0,), normed=True)
    for net in (plain, normed):
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=1.0)
    planes = torch.rand(1, 2, 16, 16)
    assert float(plain.refine(planes).abs().max()) > 1e3
    assert float(normed.refine(planes).abs().max()) < 30, "the last convolution adds eight numbers of about 1"
