from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from dvcp.ops.guided import guided_upsample


def test_equal_grids_are_left_alone() -> None:
    chroma, luma = torch.rand(1, 2, 9, 9) - 0.5, torch.rand(1, 1, 9, 9)
    assert guided_upsample(chroma, luma, luma) is chroma


@pytest.mark.parametrize("size", [(3, 3), (4, 9), (5, 5), (16, 21)])
def test_constant_colour_stays_constant(size: tuple[int, int]) -> None:
    chroma = torch.tensor([0.3, -0.2])[None, :, None, None].expand(2, 2, *size)
    found = guided_upsample(chroma, torch.rand(2, 1, *size), torch.rand(2, 1, 37, 41))
    torch.testing.assert_close(found, torch.tensor([0.3, -0.2])[None, :, None, None].expand(2, 2, 37, 41), atol=1e-4, rtol=0)


def test_colour_follows_the_edge_of_the_luma() -> None:
    target = torch.zeros(1, 1, 48, 64)
    target[..., 27:] = 1  # the edge lies inside a coarse pixel, where plain enlargement cannot put it
    truth = torch.cat([target * 0.6 - 0.3, 0.2 - target * 0.4], 1)
    guide, chroma = F.avg_pool2d(target, 4), F.avg_pool2d(truth, 4)
    guided = (guided_upsample(chroma, guide, target) - truth).abs().mean()
    plain = (F.interpolate(chroma, size=(48, 64), mode="bilinear", align_corners=False) - truth).abs().mean()
    assert guided < plain / 4


def test_colour_stays_in_range() -> None:
    generator = torch.Generator().manual_seed(0)
    chroma = torch.rand(1, 2, 12, 12, generator=generator) - 0.5
    found = guided_upsample(chroma, torch.rand(1, 1, 12, 12, generator=generator), torch.rand(1, 1, 40, 40, generator=generator) * 9 - 4)
    assert found.abs().max() <= 0.5
