"""SIGGRAPH17, the network of Real-Time User-Guided Image Colorization (Zhang et al. 2017) as it is released for PyTorch; IDC in TCVC.

Names of the attributes are the keys of ``siggraph17-df00044c.pth``. A person's hints come in as three more planes, which here are zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from dvcp.colour import Matrix
from dvcp.nets.generator import ab_to_chroma, centred_lightness, padded

#: a* and b* at the ends of tanh
AB_RANGE = 110.0
#: colours that the head of classification, which only training has a use for, tells apart
_CLASSES = 529


def block(widths: Sequence[int], *, last_stride: int = 1, dilation: int = 1) -> list[nn.Module]:
    """3x3 convolutions from each width to the next, each with its ReLU; then batch norm."""
    layers: list[nn.Module] = []
    for k, (inputs, outputs) in enumerate(pairwise(widths), 2):
        layers += [nn.Conv2d(inputs, outputs, 3, last_stride if k == len(widths) else 1, dilation, dilation), nn.ReLU(inplace=True)]
    return [*layers, nn.BatchNorm2d(widths[-1])]


def doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """A transposed convolution to twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class Siggraph17(nn.Module):
    """A :class:`dvcp.nets.generator.Generator`, 34.19 M parameters: U-shaped, down to 1/8 of the size, features at full size."""

    channels = 128
    stride = 1

    def __init__(self) -> None:
        super().__init__()
        self.model1 = nn.Sequential(*block((4, 64, 64)))
        self.model2 = nn.Sequential(*block((64, 128, 128)))
        self.model3 = nn.Sequential(*block((128, 256, 256, 256)))
        self.model4 = nn.Sequential(*block((256, 512, 512, 512)))
        self.model5 = nn.Sequential(*block((512, 512, 512, 512), dilation=2))
        self.model6 = nn.Sequential(*block((512, 512, 512, 512), dilation=2))
        self.model7 = nn.Sequential(*block((512, 512, 512, 512)))
        self.model8up, self.model3short8 = nn.Sequential(doubling(512, 256)), nn.Sequential(_conv(256, 256))
        self.model8 = nn.Sequential(nn.ReLU(inplace=True), *block((256, 256, 256)))
        self.model9up, self.model2short9 = nn.Sequential(doubling(256, 128)), nn.Sequential(_conv(128, 128))
        self.model9 = nn.Sequential(nn.ReLU(inplace=True), *block((128, 128)))
        self.model10up, self.model1short10 = nn.Sequential(doubling(128, 128)), nn.Sequential(_conv(64, 128))
        self.model10 = nn.Sequential(nn.ReLU(inplace=True), _conv(128, 128), nn.LeakyReLU(0.2, inplace=True))
        self.model_class = nn.Sequential(nn.Conv2d(256, _CLASSES, 1))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def features(self, luma: Tensor) -> Tensor:
        """Output of model10 ``[T, 128, h, w]`` for Y' ``[T, 1, h, w]`` in [0, 1]; inside, edges are repeated to a multiple of 8."""
        height, width = luma.shape[-2:]
        seen = centred_lightness(padded(luma, 8))
        level1 = self.model1(torch.cat([seen, seen.new_zeros(len(seen), 3, *seen.shape[-2:])], 1))
        level2 = self.model2(level1[..., ::2, ::2])
        level3 = self.model3(level2[..., ::2, ::2])
        x = self.model7(self.model6(self.model5(self.model4(level3[..., ::2, ::2]))))
        x = self.model8(self.model8up(x) + self.model3short8(level3))
        x = self.model9(self.model9up(x) + self.model2short9(level2))
        found: Tensor = self.model10(self.model10up(x) + self.model1short10(level1))
        return found[..., :height, :width]

    def ab(self, features: Tensor) -> Tensor:
        """a* and b* ``[T, 2, h, w]`` of features, in (-110, 110)."""
        ab: Tensor = self.model_out(features) * AB_RANGE
        return ab

    def colours(self, features: Tensor, luma: Tensor, matrix: Matrix = "bt709") -> Tensor:
        """Cb and Cr ``[T, 2, h, w]`` of features at the frames' own Y' ``[T, 1, h, w]``."""
        return ab_to_chroma(self.ab(features), luma, matrix)
