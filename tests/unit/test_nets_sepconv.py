from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dvcp.nets.sepconv import KernelNet


@pytest.fixture(scope="module")
def small() -> KernelNet:
    torch.manual_seed(0)
    return KernelNet(taps=5).eval()


def test_the_paper_size() -> None:
    with torch.device("meta"):
        net = KernelNet()
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(21.42, abs=0.005)
    assert net.taps == 51


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 40), (32, 32), (33, 65)])
def test_logits_have_the_size_of_the_frame(small: KernelNet, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        vertical, horizontal = small(torch.rand(2, 1, *size), torch.rand(2, 1, *size))
    assert vertical.shape == horizontal.shape == (2, 5, *size)
    assert vertical.isfinite().all() and horizontal.isfinite().all()


@pytest.mark.parametrize("taps", [4, 1, -3])
def test_taps_have_a_middle(taps: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        KernelNet(taps)


def test_an_untrained_network_keeps_the_frame_in_place(small: KernelNet) -> None:
    with torch.inference_mode():
        kernels = small(torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32))
    assert all((k.argmax(1) == 2).all() for k in kernels)


def test_the_order_of_frames_matters(small: KernelNet) -> None:
    a, b = torch.rand(2, 1, 1, 32, 32)
    with torch.inference_mode():
        assert not torch.equal(small(a, b)[0], small(b, a)[0])


def test_folding_gives_the_network_with_batch_norm() -> None:
    torch.manual_seed(1)
    net = KernelNet(taps=5, norm=True)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in ((module.weight, 0.5, 1.5), (module.bias, -0.2, 0.2)):
                nn.init.uniform_(values, low, high)
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    net.eval()
    previous, current = torch.rand(2, 1, 1, 40, 33)
    with torch.inference_mode():
        wanted = net(previous, current)
        folded = copy.deepcopy(net).fold()
        found = folded(previous, current)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert set(folded.state_dict()) == set(KernelNet(taps=5).state_dict()), "a folded network is the plain one"
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert not folded.training
