"""G, the colorizer that ships: one gray picture to its likely colours, split as TCVC (section 3.1.1) splits every G.

G_E is the frozen EfficientNet-Lite0, which knows what is seen, and a decoder back to half the picture's size; G_C is a 1x1 convolution and
tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.colour import Matrix
from dvcp.nets.embedding import CHANNELS, PictureEmbedder
from dvcp.nets.unet import Block

#: channels of the decoder at strides 32, 16, 8, 4 and 2
_WIDTHS = (128, 96, 64, 48, 32)
#: channels of the backbone at strides 16, 8, 4 and 2, where luma comes too
_SKIPS = (112, 40, 24, 33)
_MULTIPLE = 32


class Colorizer(nn.Module):
    """The generator. The backbone is frozen and comes with the install, so it is no part of the state dict.

    Attributes:
        channels: of the features.
        stride: of the features, in pixels of the luma that is seen.
    """

    channels: int = _WIDTHS[-1]
    stride: int = 2

    def __init__(self, backbone: PictureEmbedder | None = None) -> None:
        super().__init__()
        # In a list: frozen, and no part of the weights.
        self._seen = [(backbone or PictureEmbedder()).eval()]
        self.local = nn.Conv2d(CHANNELS, _WIDTHS[0], 1)
        self.scene = nn.Linear(CHANNELS, _WIDTHS[0])
        self.decoder = nn.ModuleList(Block(a + skip, b, True) for (a, b), skip in zip(pairwise(_WIDTHS), _SKIPS, strict=True))
        self.map = nn.Conv2d(self.channels, 2, 1)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        # The list hides the backbone from to() too.
        self.backbone._apply(fn, recurse)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    @property
    def backbone(self) -> PictureEmbedder:
        return self._seen[0]

    def features(self, luma: Tensor) -> Tensor:
        """G_E: Y' ``[T, 1, h, w]`` in [0, 1], any size, to ``[T, channels, ceil(h / 2), ceil(w / 2)]``, about unit size."""
        height, width = luma.shape[-2:]
        padded = F.pad(luma, (0, -width % _MULTIPLE, 0, -height % _MULTIPLE), mode="replicate")
        with torch.no_grad():
            seen = self.backbone.trunk(padded)
            late = self.backbone.late(seen.deep)
        x = self.local(late) + self.scene(late.mean((2, 3)))[:, :, None, None]
        fine = torch.cat([seen.fine, F.avg_pool2d(padded, 2)], 1)
        for block, skip in zip(self.decoder, (seen.deep, seen.middle, seen.shallow, fine), strict=True):
            x = block(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False), skip], 1))
        out: Tensor = x[..., : -(-height // 2), : -(-width // 2)]
        return out

    def colours(self, features: Tensor, luma: Tensor, matrix: Matrix = "bt709") -> Tensor:
        """G_C: Cb, Cr ``[T, 2, h', w']`` in [-0.5, 0.5] on the grid of the features; neither ``luma`` nor ``matrix`` matters to it."""
        out: Tensor = 0.5 * torch.tanh(self.map(features))
        return out

    def forward(self, luma: Tensor) -> Tensor:
        """Both."""
        return self.colours(self.features(luma), luma)
