"""The fusion of the default method: for every pixel a choice among three proposals, and a correction where none is right.

It stands where Deep Video Color Propagation has F_f (section 3.3), with two changes that measurement asked for: it is a small U-Net,
because what was hidden in the reference must be guessed from surfaces further away than F_f's 21 pixels, and it sees how far each
proposal's own luma explains the frame, and how surely it came about. It also says how wrong it expects to be.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dvcp.nets.unet import UNet, seen_in

WIDTHS = (24, 40, 64, 96)
PROPOSALS, TRUSTS = 3, 7


class ChoiceNet(UNet):
    """431 k parameters."""

    def __init__(self) -> None:
        # Begin as a blend that leans on what came by motion: from noise the first hundreds of steps go into learning to copy.
        super().__init__(1 + 4 * PROPOSALS + TRUSTS, WIDTHS, (1.0, 1.0, -1.0, 0.0, 0.0, 0.0))

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
        parts = [luma - 0.45]
        for p in proposals:
            parts += seen_in(p, luma)
        out = self.refine(torch.cat([*parts, trusts], 1))
        weight = torch.softmax(out[:, :PROPOSALS], 1)
        chosen = sum(weight[:, k : k + 1] * p[:, 1:] for k, p in enumerate(proposals))
        return chosen + 0.1 * out[:, PROPOSALS:-1], 0.1 * F.softplus(out[:, -1:])
