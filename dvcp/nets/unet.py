"""The small U-Net under the networks that decide about colour on the working grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: brings luma differences and chroma to about one
GAIN = 8.0


class Block(nn.Module):
    """Two 3x3 convolutions, the second beside its input: ``[B, inputs, h, w]`` to ``[B, outputs, h, w]``; ``normed`` as in UNet."""

    def __init__(self, inputs: int, outputs: int, normed: bool) -> None:
        super().__init__()
        self.normed = normed
        # Edges are repeated, because zeros show as a coloured frame around the picture.
        self.a = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        x = x + F.relu(self.b(x))
        # Over channels, not over the picture: a place's colour must not depend on how much of the picture is seen.
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4) if self.normed else x


class UNet(nn.Module):
    """One scale for each of ``widths``, halved by averaging; skip connections; a last 1x1 convolution that starts as ``bias`` alone.

    Args:
        inputs: channels that come in.
        widths: channels of each scale, the finest first.
        bias: of the last convolution, one for each channel that goes out.
        normed: every block's output is brought to unit size in every place. What learns from one sample at a time needs it: without, its
            gradients grew a thousandfold within thirty steps.
    """

    def __init__(self, inputs: int, widths: Sequence[int], bias: Sequence[float], *, normed: bool = False) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Block(a, b, normed) for a, b in pairwise((inputs, *widths)))
        self.decoder = nn.ModuleList(Block(a + b, a, normed) for a, b in reversed(list(pairwise(widths))))
        self.last = nn.Conv2d(widths[0], len(bias), 1)
        assert self.last.bias is not None
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.copy_(torch.tensor(bias))

    def refine(self, planes: Tensor) -> Tensor:
        """``[B, inputs, h, w]``, any size, to float32 ``[B, outputs, h, w]``."""
        height, width = planes.shape[-2:]
        multiple = 1 << (len(self.encoder) - 1)
        x = F.pad(planes, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        x = x.to(self.last.weight.dtype).contiguous(memory_format=torch.channels_last)
        skips = []
        for scale, block in enumerate(self.encoder):
            x = block(F.avg_pool2d(x, 2) if scale else x)
            skips.append(x)
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False), skip], 1))
        out: Tensor = self.last(x)[..., :height, :width].float()
        return out


def seen_in(proposal: Tensor, luma: Tensor) -> list[Tensor]:
    """What a network is shown of proposed Y', Cb, Cr ``[B, 3, h, w]``: its colours, and how far its luma explains the frame's own."""
    away = (proposal[:, :1] - luma) * GAIN
    return [away, proposal[:, 1:] * GAIN, 2 * away.abs()]
