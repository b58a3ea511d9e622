"""The fusion of the default method: for every pixel a choice among three proposals, and a correction where none is right.

It stands where Deep Video Color Propagation has F_f (section 3.3), with two changes that measurement asked for: it is a small U-Net,
because what was hidden in the reference must be guessed from surfaces further away than F_f's 21 pixels, and it sees how far each
proposal's own luma explains the frame, and how surely it came about. It also says how wrong it expects to be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (24, 40, 64, 96)
PROPOSALS, TRUSTS = 3, 7
#: frames are padded to a multiple of this
MULTIPLE = 8
#: brings luma differences and chroma to about one
_GAIN = 8.0


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # Edges are repeated, because zeros show as a coloured frame around the picture.
        self.a = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="replicate")
        self.b = nn.Conv2d(outputs, outputs, 3, padding=1, padding_mode="replicate")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.a(x))
        return x + F.relu(self.b(x))


class ChoiceNet(nn.Module):
    """U-Net of four scales."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 1 + 4 * PROPOSALS + TRUSTS
        self.encoder = nn.ModuleList(_Block(a, b) for a, b in pairwise((inputs, *WIDTHS)))
        self.decoder = nn.ModuleList(_Block(a + b, a) for a, b in reversed(list(pairwise(WIDTHS))))
        self.last = nn.Conv2d(WIDTHS[0], PROPOSALS + 3, 1)
        # Begin as a blend that leans on what came by motion: from noise the first hundreds of steps go into learning to copy.
        assert self.last.bias is not None
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.copy_(torch.tensor([1.0, 1.0, -1.0, 0.0, 0.0, 0.0]))

    def forward(self, luma: Tensor, proposals: Sequence[Tensor], trusts: Tensor) -> tuple[Tensor, Tensor]:
        """Final chroma.

        Args:
            luma: float ``[B, 1, h, w]``, the frame's own Y', in [0, 1].
            proposals: warped, anchored and matched, each ``[B, 3, h, w]``: Y', Cb, Cr.
            trusts: ``[B, 7, h, w]`` in [0, 1]: trust, seen and age (see :class:`dvcp.methods.carry.Carried`), and the cues of the match
                (see :class:`dvcp.ops.softmatch.Match`).

        Returns:
            float32 ``[B, 2, h, w]``, Cb and Cr centred at 0, and ``[B, 1, h, w]``, the absolute error to be expected of them.
        """
        height, width = luma.shape[-2:]
        parts = [luma - 0.45]
        for p in proposals:
            away = (p[:, :1] - luma) * _GAIN
            parts += [away, p[:, 1:] * _GAIN, 2 * away.abs()]
        x = F.pad(torch.cat([*parts, trusts], 1), (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
        x = x.to(self.last.weight.dtype).contiguous(memory_format=torch.channels_last)
        skips = []
        for scale, block in enumerate(self.encoder):
            x = block(F.avg_pool2d(x, 2) if scale else x)
            skips.append(x)
        for block, skip in zip(self.decoder, reversed(skips[:-1]), strict=True):
            x = block(torch.cat([F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False), skip], 1))
        out = self.last(x)[..., :height, :width].float()
        weight = torch.softmax(out[:, :PROPOSALS], 1)
        chosen = sum(weight[:, k : k + 1] * p[:, 1:] for k, p in enumerate(proposals))
        return chosen + 0.1 * out[:, PROPOSALS:-1], 0.1 * F.softplus(out[:, -1:])
