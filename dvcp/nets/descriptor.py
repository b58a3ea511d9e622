"""Descriptors for the global branch: a small head, trained to match colours, on the frozen backbone's features.

ImageNet features say what a thing is; the head learns from film which of that says what colour it has (the objective of "Tracking emerges
by colorizing videos", Vondrick et al. 2018): the reference's colours, averaged by similarity, must be the frame's. Beside the head's own
descriptors the deepest features keep a say as they are: what a head learns from few films is surer there than on films it has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.nets.features import Features

WIDTH, COARSE, FINE, SHALLOW = 64, 64, 32, 32
#: how sharply the likeness of the bare deep features decides, beside the head's (which learns its own, about 15)
BARE = 10.0


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Unit vectors; their dot product says how alike two places are.

    Attributes:
        coarse: ``[B, 64 + C, H/8, W/8]``, the head's and the backbone's ``C`` deep features.
        fine: ``[B, 32, H/4, W/4]``.
        sharpness: ``[2]``, how sharply their likeness decides, at both levels.
    """

    coarse: Tensor
    fine: Tensor
    sharpness: Tensor


class DescriptorNet(nn.Module):
    """117 k parameters, 2.5 k multiply-adds a luma pixel.

    Args:
        shallow, middle, deep: channels of the backbone's features at strides 4, 8 and 16.
        norm: batch norm of those, for training only (see :meth:`fold`).
    """

    def __init__(self, shallow: int = 24, middle: int = 40, deep: int = 112, *, norm: bool = False) -> None:
        super().__init__()
        widths = (shallow, middle, deep)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, momentum=0.01) if norm else nn.Identity() for c in widths)
        self.inputs = nn.ModuleList(nn.Conv2d(c, w, 1) for c, w in zip(widths, (SHALLOW, WIDTH, WIDTH), strict=True))
        self.mix = nn.Conv2d(2 * WIDTH + SHALLOW, WIDTH, 3, padding=1)
        self.again = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.coarse = nn.Conv2d(WIDTH, COARSE, 1)
        self.near = nn.Conv2d(SHALLOW + WIDTH, FINE, 3, padding=1)
        self.fine = nn.Conv2d(FINE, FINE, 1)
        #: logarithms of how sharply the head's likeness decides, at both levels
        self.sharpness = nn.Parameter(torch.tensor([2.7, 2.0]))

    def forward(self, seen: Features) -> Descriptors:
        """Descriptors of frames whose features are ``seen``."""
        levels = (seen.shallow, seen.middle, seen.deep)
        shallow, middle, deep = (i(n(x)) for i, n, x in zip(self.inputs, self.norms, levels, strict=True))
        shallow, deep = F.relu(shallow), F.interpolate(deep, size=middle.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(self.mix(torch.cat([F.relu(middle), F.relu(deep), F.avg_pool2d(shallow, 2)], 1)))
        x = F.relu(self.again(x) + x)
        near = torch.cat([shallow, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)], 1)
        fine = self.fine(F.relu(self.near(near)))
        decides = self.decides()
        own, bare = F.normalize(self.coarse(x), dim=1), F.normalize(F.interpolate(seen.deep, size=x.shape[-2:], mode="bilinear"), dim=1)
        share = BARE / decides[0]
        coarse = torch.cat([own * (1 - share).sqrt(), bare * share.sqrt()], 1)
        return Descriptors(coarse, F.normalize(fine, dim=1), decides)

    def decides(self) -> Tensor:
        """``[2]``, how sharply likeness decides at both levels."""
        coarse, fine = self.sharpness.exp()
        return torch.stack([coarse + BARE, fine])

    @torch.no_grad()
    def fold(self) -> DescriptorNet:
        """Fold batch norm into the convolutions, in place; the network is then for inference only. Returns itself."""
        for k, (norm, conv) in enumerate(zip(self.norms, self.inputs, strict=True)):
            if isinstance(norm, nn.BatchNorm2d):
                assert isinstance(conv, nn.Conv2d) and conv.bias is not None
                assert norm.running_mean is not None and norm.running_var is not None
                scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
                weight = conv.weight[..., 0, 0]
                conv.bias.data = conv.bias + weight @ (norm.bias - norm.running_mean * scale)
                conv.weight.data = conv.weight * scale[:, None, None]
                self.norms[k] = nn.Identity()
        return self.eval()
