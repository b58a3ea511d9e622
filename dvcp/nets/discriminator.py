"""The video discriminator of exemplar training: are these two consecutive frames a real film's, or coloured ones? Never shipped.

Deep Exemplar-based Video Colorization section 3.3 and the authors' Discriminator_x64: 4x4 convolutions of stride 2, spectral norm, self
attention after the second, instance norm from the second on; narrower here, for the working grid and two CPU cores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

WIDTHS = (32, 64, 128, 192)


class _Attention(nn.Module):
    """Self attention over all places (Zhang et al. 2019), added with a learned weight that starts at 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key = (spectral_norm(nn.Conv2d(width, width // 4, 1)) for _ in range(2))
        self.value = spectral_norm(nn.Conv2d(width, width, 1))
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (f(x).flatten(2).transpose(1, 2) for f in (self.query, self.key, self.value))
        found = F.scaled_dot_product_attention(query, key, value)
        return x + self.share * found.transpose(1, 2).reshape_as(x)


class VideoDiscriminator(nn.Module):
    """Scores of the patches of frame pairs; higher is more like film."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for k, width in enumerate(WIDTHS):
            layers.append(spectral_norm(nn.Conv2d(WIDTHS[k - 1] if k else 6, width, 4, 2, 1)))
            layers += [nn.InstanceNorm2d(width)] if k else []
            layers.append(nn.LeakyReLU(0.2))
            layers += [_Attention(width)] if k == 1 else []
        layers.append(spectral_norm(nn.Conv2d(WIDTHS[-1], 1, 3, padding=1)))
        self.body = nn.Sequential(*layers)

    def forward(self, pair: Tensor) -> Tensor:
        """``[B, 6, h, w]``, Y', Cb, Cr of a frame and of the one before it, sides of 32 or more, to ``[B, 1, h/16, w/16]``."""
        found: Tensor = self.body(pair)
        return found
