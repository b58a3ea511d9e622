from __future__ import annotations

import torch

from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.features import Features


def seen(batch: int = 2) -> Features:
    torch.manual_seed(0)
    sizes = ((112, 3, 4), (40, 6, 8), (24, 12, 16), (32, 24, 32))
    return Features(*(torch.randn(batch, *size) for size in sizes))


def test_descriptors_are_unit_vectors_at_two_strides() -> None:
    found = DescriptorNet()(seen())
    assert found.coarse.shape == (2, 64, 6, 8) and found.fine.shape == (2, 32, 12, 16)
    for vectors in (found.coarse, found.fine):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones_like(vectors[:, 0]))


def test_folding_the_norms_changes_nothing() -> None:
    torch.manual_seed(1)
    net = DescriptorNet(norm=True)
    for _ in range(5):
        net(seen())
    for norm in net.norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 2)  # type: ignore[arg-type]
        torch.nn.init.normal_(norm.bias)  # type: ignore[arg-type]
    net.eval()
    wanted = net(seen())
    folded = net.fold()
    assert set(folded.state_dict()) == set(DescriptorNet().state_dict())
    found = folded(seen())
    torch.testing.assert_close(found.coarse, wanted.coarse, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.fine, wanted.fine, atol=1e-5, rtol=0)
