"""ECCV16, the network of Colorful Image Colorization (Zhang et al. 2016) as it is released for PyTorch; CIC in TCVC.

Names of the attributes are the keys of ``colorization_release_v2-9b330a0b.pth``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.colour import Matrix
from dvcp.nets.generator import ab_to_chroma, centred_lightness, padded
from dvcp.nets.siggraph17 import AB_RANGE, block, doubling


class Eccv16(nn.Module):
    """A :class:`dvcp.nets.generator.Generator`, 32.24 M parameters: at every place of 4 x 4 pixels a distribution over 313 colours.

    Features are its logits. Colour is the mean of the distribution, brought to full size without a look at the picture's edges.
    """

    channels = 313
    stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.model1 = nn.Sequential(*block((1, 64, 64), last_stride=2))
        self.model2 = nn.Sequential(*block((64, 128, 128), last_stride=2))
        self.model3 = nn.Sequential(*block((128, 256, 256, 256), last_stride=2))
        self.model4 = nn.Sequential(*block((256, 512, 512, 512)))
        self.model5 = nn.Sequential(*block((512, 512, 512, 512), dilation=2))
        self.model6 = nn.Sequential(*block((512, 512, 512, 512), dilation=2))
        self.model7 = nn.Sequential(*block((512, 512, 512, 512)))
        *convolutions, _norm = block((256, 256, 256))
        self.model8 = nn.Sequential(doubling(512, 256), nn.ReLU(inplace=True), *convolutions, nn.Conv2d(256, self.channels, 1))
        self.model_out = nn.Conv2d(self.channels, 2, 1, bias=False)

    def features(self, luma: Tensor) -> Tensor:
        """Logits ``[T, 313, ceil(h / 4), ceil(w / 4)]`` for Y' ``[T, 1, h, w]``; inside, edges are repeated to a multiple of 8."""
        height, width = luma.shape[-2:]
        x = centred_lightness(padded(luma, 8))
        for layer in (self.model1, self.model2, self.model3, self.model4, self.model5, self.model6, self.model7, self.model8):
            x = layer(x)
        return x[..., : -(-height // self.stride), : -(-width // self.stride)]

    def ab(self, features: Tensor) -> Tensor:
        """a* and b* ``[T, 2, 4 h', 4 w']`` of logits ``[T, 313, h', w']``."""
        mean = self.model_out(features.softmax(1))
        return F.interpolate(mean, scale_factor=float(self.stride), mode="bilinear", align_corners=False) * AB_RANGE

    def colours(self, features: Tensor, luma: Tensor, matrix: Matrix = "bt709") -> Tensor:
        """Cb and Cr ``[T, 2, h, w]`` of logits at the frames' own Y' ``[T, 1, h, w]``."""
        height, width = luma.shape[-2:]
        return ab_to_chroma(self.ab(features)[..., :height, :width], luma, matrix)
