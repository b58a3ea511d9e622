from __future__ import annotations

import pytest
import torch

from dvcp.nets.choice import ChoiceNet


def inputs(height: int = 21, width: int = 30, batch: int = 2) -> tuple[torch.Tensor, list[torch.Tensor], torch.Tensor]:
    torch.manual_seed(1)
    proposals = [torch.cat([torch.rand(batch, 1, height, width), torch.rand(batch, 2, height, width) - 0.5], 1) for _ in range(3)]
    return torch.rand(batch, 1, height, width), proposals, torch.rand(batch, 7, height, width)


def test_untrained_it_leans_on_what_came_by_motion() -> None:
    luma, proposals, trusts = inputs()
    chroma, error = ChoiceNet()(luma, proposals, trusts)
    share = torch.softmax(torch.tensor([1.0, 1.0, -1.0]), 0)
    torch.testing.assert_close(chroma, sum(s * p[:, 1:] for s, p in zip(share, proposals, strict=True)), atol=1e-6, rtol=0)
    assert error.shape == (2, 1, 21, 30) and bool((error > 0).all())


@pytest.mark.parametrize("size", [(8, 8), (9, 17), (1, 1)])
def test_any_size(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = ChoiceNet()
    torch.nn.init.normal_(net.last.weight, std=0.1)
    chroma, error = net(*inputs(*size))
    assert chroma.shape == (2, 2, *size) and error.shape == (2, 1, *size) and bool(chroma.isfinite().all())


def test_where_all_agree_the_choice_adds_only_its_correction() -> None:
    """Equal proposals leave nothing to choose: whatever the weights, what comes out is theirs plus the correction."""
    torch.manual_seed(0)
    net = ChoiceNet()
    torch.nn.init.normal_(net.last.weight[:3], std=0.5)
    luma, proposals, trusts = inputs()
    chroma, _ = net(luma, [proposals[0]] * 3, trusts)
    torch.testing.assert_close(chroma, proposals[0][:, 1:], atol=1e-5, rtol=0)


def test_in_bfloat16_the_colours_chosen_stay_exact() -> None:
    luma, proposals, trusts = inputs()
    net = ChoiceNet().to(torch.bfloat16)
    chroma, _ = net(luma, [proposals[0]] * 3, trusts)
    assert chroma.dtype == torch.float32
    torch.testing.assert_close(chroma, proposals[0][:, 1:], atol=1e-6, rtol=0)
