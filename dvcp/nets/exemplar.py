"""The colorization subnet C of the default exemplar method (Deep Exemplar-based Video Colorization, eq. 7), sized for two CPU cores.

(x^l_t, W^ab, S, last frame) -> x^ab_t as in the paper, with three changes. The last frame comes along optical flow, so that temporal
coherence need not be learned from pairs of frames that do not lie on each other. It starts as a blend of what was matched and what was
carried, and learns to depart from it, which thousands of steps suffice for where ColorVidNet took days. And it says how wrong it expects
to be, which the next frame is told, and the archive.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dvcp.nets.unet import UNet, seen_in

WIDTHS = (24, 40, 64, 96, 128)
CUES = 4
#: scale of what is added to the blend: 0.2 of chroma is a strong colour
_FREE = 0.2
#: how far a colour is drawn to what was matched in every frame, where the place is quite alike
_DRAWN = 0.3
#: expected chroma error at which a colour's sureness has fallen to 1/e
_DOUBT = 0.04


class ColourNet(UNet):
    """U-Net of five scales, 965 k parameters; the coarsest sees the whole picture at 1/16 of the working grid."""

    def __init__(self) -> None:
        super().__init__(1 + 4 + CUES + 4 + 1, WIDTHS, (0.0, 0.0, 0.0, 0.0, 0.0), normed=True)

    def forward(self, luma: Tensor, matched: Tensor, cues: Tensor, last: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
        """Colours of a frame.

        Args:
            luma: float ``[B, 1, h, w]``, the frame's own Y', in [0, 1].
            matched: ``[B, 3, h, w]``, W: Y', Cb, Cr of the reference at the places alike.
            cues: S, ``[B, 4, h, w]`` in [0, 1], see :class:`dvcp.ops.softmatch.Match`.
            last: ``[B, 3, h, w]``, the last frame where its pixels lie now; what was matched, where there is none.
            sure: ``[B, 1, h, w]`` in [0, 1], how sure those colours were; 0 where there is no last frame.

        Returns:
            float32 ``[B, 2, h, w]``, Cb and Cr centred at 0, and ``[B, 1, h, w]``, the absolute error to be expected of them.
        """
        planes = torch.cat([luma - 0.45, *seen_in(matched, luma), cues, *seen_in(last, luma), sure], 1)
        out = self.refine(planes)
        share = torch.sigmoid(out[:, :1] - out[:, 1:2])
        blend = matched[:, 1:] + share * (last[:, 1:] - matched[:, 1:])
        chroma = blend + _FREE * out[:, 2:4]
        # What training sees in five frames adds up over fifty: 1 dB on films it had not seen. Drawn back to the reference it does not.
        return chroma + _DRAWN * cues[:, 1:2] * (matched[:, 1:] - chroma), 0.1 * F.softplus(out[:, 4:])


def sureness(error: Tensor) -> Tensor:
    """What the next frame, and the archive, is told of a colour whose error is expected to be ``error``: in [0, 1]."""
    return torch.exp(-error / _DOUBT)
