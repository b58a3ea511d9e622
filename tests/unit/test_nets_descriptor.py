from __future__ import annotations

import torch

from dvcp.nets.descriptor import BARE, DescriptorNet
from dvcp.nets.features import Features


def seen(batch: int = 2) -> Features:
    torch.manual_seed(0)
    sizes = ((112, 3, 4), (40, 6, 8), (24, 12, 16), (32, 24, 32))
    return Features(*(torch.randn(batch, *size) for size in sizes))


def test_descriptors_are_unit_vectors_at_two_strides() -> None:
    found = DescriptorNet()(seen())
    assert found.coarse.shape == (2, 64 + 112, 6, 8) and found.fine.shape == (2, 32, 12, 16)
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


def test_likeness_is_the_heads_and_the_bare_features_each_as_sharp_as_it_is() -> None:
    net, frames = DescriptorNet(), seen()
    found = net(frames)
    bare = torch.nn.functional.interpolate(frames.deep, size=(6, 8), mode="bilinear").flatten(2)[0]
    wanted = torch.nn.functional.cosine_similarity(bare[:, :, None], bare[:, None], dim=0)
    torch.nn.init.zeros_(net.coarse.weight)
    torch.nn.init.ones_(net.coarse.bias)  # every place alike to the head
    vectors = net(frames).coarse[0].flatten(1)
    own = found.sharpness[0] - BARE
    torch.testing.assert_close(found.sharpness[0] * vectors.t() @ vectors, own + BARE * wanted, atol=1e-4, rtol=0)
