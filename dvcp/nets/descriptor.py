"""Descriptors for the global branch: a small head, trained to match colours, on the frozen backbone's features.

ImageNet features say what a thing is; the head learns from film which of that says what colour it has (the objective of "Tracking emerges
by colorizing videos", Vondrick et al. 2018): the reference's colours, averaged by similarity, must be the frame's.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.nets.features import Features

WIDTH, COARSE, FINE, SHALLOW = 64, 64, 32, 32


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Unit vectors; their dot product says how alike two places are.

    Attributes:
        coarse: ``[B, 64, H/8, W/8]``.
        fine: ``[B, 32, H/4, W/4]``.
    """

    coarse: Tensor
    fine: Tensor


class DescriptorNet(nn.Module):
    """117 k parameters, 2.5 k multiply-adds a luma pixel.

    Args:
        shallow, middle, deep: channels of the backbone's features at strides 4, 8 and 16.
    """

    def __init__(self, shallow: int = 24, middle: int = 40, deep: int = 112) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, momentum=0.01) for c in (shallow, middle, deep))
        self.inputs = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in ((shallow, SHALLOW), (middle, WIDTH), (deep, WIDTH)))
        self.mix = nn.Conv2d(2 * WIDTH + SHALLOW, WIDTH, 3, padding=1)
        self.again = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.coarse = nn.Conv2d(WIDTH, COARSE, 1)
        self.near = nn.Conv2d(SHALLOW + WIDTH, FINE, 3, padding=1)
        self.fine = nn.Conv2d(FINE, FINE, 1)
        #: logarithms of how sharply similarity decides, at both levels
        self.sharpness = nn.Parameter(torch.tensor([2.7, 2.0]))

    def forward(self, seen: Features) -> Descriptors:
        """Descriptors of frames whose features are ``seen``."""
        levels = (seen.shallow, seen.middle, seen.deep)
        shallow, middle, deep = (F.relu(i(n(x))) for i, n, x in zip(self.inputs, self.norms, levels, strict=True))
        deep = F.interpolate(deep, size=middle.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(self.mix(torch.cat([middle, deep, F.avg_pool2d(shallow, 2)], 1)))
        x = F.relu(self.again(x) + x)
        near = torch.cat([shallow, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)], 1)
        return Descriptors(F.normalize(self.coarse(x), dim=1), F.normalize(self.fine(F.relu(self.near(near))), dim=1))
