"""F_f, fusion and refinement: what the local and the global branch propose becomes one picture's colour.

Deep Video Color Propagation section 3.3: five 3x3 convolutions of 64 channels with dilations 1 2 4 1 1 and ReLU, one more to colour;
instance norm normalises the inputs jointly, and its statistics renormalise the output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DILATIONS = (1, 2, 4, 1, 1)
#: least standard deviation: a gray reference must not amplify noise
FLOOR = 1 / 255
#: channels that carry the seven inputs through at the start of training, and where among the inputs the local branch's colour stands
_PASSED, _LOCAL_COLOUR = 14, 2


def _standardise(*planes: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Mean and deviation over all planes of one component together, frame by frame; each plane ``[B, 1, h, w]``."""
    # In float32 whatever the network runs in: bfloat16 sums over a whole frame lose the mean.
    stack = torch.cat(planes, 1).float()
    mean = stack.mean((1, 2, 3), keepdim=True)
    deviation = stack.var((1, 2, 3), keepdim=True, unbiased=False).sqrt().clamp(min=FLOOR)
    return [(p.float() - mean) / deviation for p in planes], mean, deviation


class FusionNet(nn.Module):
    """F_f, 152,962 parameters, receptive field 21 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(7 if k == 0 else 64, 64, 3, dilation=d) for k, d in enumerate(DILATIONS))
        self.last = nn.Conv2d(64, 2, 3)
        self._start_from_local()

    @torch.no_grad()
    def _start_from_local(self) -> None:
        """Begin as "the local branch is right": each input passes through in two channels, its positive and its negative part.

        From noise the network spends its first hundreds of steps on learning to copy, and is worse than either branch all that while.
        """
        for k, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Conv2d) and layer.bias is not None
            weight, bias = layer.weight, layer.bias
            weight[:_PASSED] = 0
            bias[:_PASSED] = 0
            for channel in range(_PASSED):
                if k == 0:
                    weight[channel, channel // 2, 1, 1] = 1.0 - 2.0 * (channel % 2)
                else:
                    weight[channel, channel, 1, 1] = 1.0
        self.last.weight.mul_(0.1)
        self.last.weight[:, :_PASSED] = 0
        for colour in range(2):
            source = 2 * (_LOCAL_COLOUR + colour)
            self.last.weight[colour, source, 1, 1] = 1.0
            self.last.weight[colour, source + 1, 1, 1] = -1.0
        assert self.last.bias is not None
        self.last.bias.zero_()

    def forward(self, luma: Tensor, local: Tensor, matched: Tensor) -> Tensor:
        """Fused chroma.

        Args:
            luma: float ``[B, 1, h, w]``, the frame's own Y', G_k.
            local: ``[B, 3, h, w]``, I^w: Y', Cb, Cr as warped from the frame before.
            matched: ``[B, 3, h, w]``, I^s: the same as matched in the reference.

        Returns:
            float32 ``[B, 2, h, w]``, Cb and Cr centred at 0.
        """
        (y, y_local, y_matched), _, _ = _standardise(luma, local[:, :1], matched[:, :1])
        (b_local, b_matched), b_mean, b_deviation = _standardise(local[:, 1:2], matched[:, 1:2])
        (r_local, r_matched), r_mean, r_deviation = _standardise(local[:, 2:], matched[:, 2:])
        x = torch.cat([y, y_local, b_local, r_local, y_matched, b_matched, r_matched], 1).to(self.last.weight.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        for layer, dilation in zip(self.layers, DILATIONS, strict=True):
            # Reflection, because zeros show as a coloured frame around the picture.
            x = F.relu(layer(F.pad(x, (dilation,) * 4, mode="reflect")))
        x = self.last(F.pad(x, (1, 1, 1, 1), mode="reflect")).float()
        return torch.cat([x[:, :1] * b_deviation + b_mean, x[:, 1:] * r_deviation + r_mean], 1)
