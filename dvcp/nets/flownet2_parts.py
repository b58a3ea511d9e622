"""The four kinds of network FlowNet 2.0 (Ilg et al. 2017) is stacked of: FlowNetC, FlowNetS, FlowNetSD and the fusion network.

Names of the attributes are the keys of the public PyTorch checkpoint. All narrow the picture, then predict flow from coarse to fine. A
leaky ReLU of slope 0.1 follows every convolution but those that predict flow, bring it up, or smooth what it is predicted from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: how far FlowNetC looks, in places of an eighth of the size, and how far apart the places are that it compares
REACH, STEP = 20, 2
#: places it compares with, along one side
_SIDE = 2 * REACH // STEP + 1
_SLOPE = 0.1
#: of each finer level: width of the encoder's features, width of what comes up from the level below
_STEPS = ((512, 512), (512, 256), (256, 128), (128, 64))


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), nn.LeakyReLU(_SLOPE, inplace=True))


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Likeness of every place of ``a`` to those of ``b`` around it: mean over channels of the products, 0 outside.

    Args:
        a, b: float ``[T, C, h, w]``.

    Returns:
        ``[T, 441, h, w]``: of the 21 x 21 displacements the horizontal one changes fastest, from left and above to right and below.
    """
    frames, channels, height, width = a.shape
    wide = width + 2 * REACH
    # By rows, every place of one against every place of the other: products that nobody asked for cost less than 441 passes over a picture.
    rows = a.permute(0, 2, 3, 1).contiguous()
    around = F.pad(b, (REACH,) * 4).permute(0, 2, 1, 3).contiguous()
    found = []
    for down in range(0, 2 * REACH + 1, STEP):
        products = rows @ around[:, down : down + height]
        # One place to the right in both rows is a step of wide + 1.
        strides = height * width * wide, width * wide, wide + 1, STEP
        found.append(products.as_strided((frames, height, width, _SIDE), strides))
    return torch.cat(found, -1).permute(0, 3, 1, 2) / channels


class _CoarseToFine(nn.Module):
    """Flow at the coarsest level, then brought up and predicted anew at each finer one.

    Args:
        coarsest: number of the coarsest level, 1 / 2^coarsest of the size.
        width: of the features there.
        steps: of each finer level, the widths as in ``_STEPS``.
        smoothed: a convolution goes before the prediction at finer levels.
        bias: the convolutions that bring flow up have one.
    """

    def __init__(self, coarsest: int, width: int, steps: Sequence[tuple[int, int]], *, smoothed: bool = False, bias: bool = True) -> None:
        super().__init__()
        self._coarsest, self._smoothed = coarsest, smoothed
        self.add_module(f"predict_flow{coarsest}", nn.Conv2d(width, 2, 3, padding=1))
        for level, (skip, up) in zip(range(coarsest - 1, -1, -1), steps, strict=False):
            self.add_module(f"deconv{level}", nn.Sequential(nn.ConvTranspose2d(width, up, 4, 2, 1), nn.LeakyReLU(_SLOPE, inplace=True)))
            self.add_module(f"upsampled_flow{level + 1}_to_{level}", nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias))
            width = skip + up + 2
            if smoothed:
                self.add_module(f"inter_conv{level}", nn.Sequential(nn.Conv2d(width, up, 3, padding=1)))
            self.add_module(f"predict_flow{level}", nn.Conv2d(up if smoothed else width, 2, 3, padding=1))

    def _refined(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """Flow at the level of the last of ``skips``; ``x`` are the features of the coarsest level."""
        flow: Tensor = self.get_submodule(f"predict_flow{self._coarsest}")(x)
        for level, skip in zip(range(self._coarsest - 1, -1, -1), skips, strict=False):
            flow = self.get_submodule(f"upsampled_flow{level + 1}_to_{level}")(flow)
            x = torch.cat([skip, self.get_submodule(f"deconv{level}")(x), flow], 1)
            seen = self.get_submodule(f"inter_conv{level}")(x) if self._smoothed else x
            flow = self.get_submodule(f"predict_flow{level}")(seen)
        return flow


class _Deep(_CoarseToFine):
    """Levels 4 to 6, which three of the networks have in common."""

    def __init__(self, *, smoothed: bool = False, bias: bool = True) -> None:
        super().__init__(6, 1024, _STEPS, smoothed=smoothed, bias=bias)
        self.conv4, self.conv4_1 = _conv(256, 512, stride=2), _conv(512, 512)
        self.conv5, self.conv5_1 = _conv(512, 512, stride=2), _conv(512, 512)
        self.conv6, self.conv6_1 = _conv(512, 1024, stride=2), _conv(1024, 1024)

    def _deeper(self, level3: Tensor, level2: Tensor) -> Tensor:
        level4 = self.conv4_1(self.conv4(level3))
        level5 = self.conv5_1(self.conv5(level4))
        return self._refined(self.conv6_1(self.conv6(level5)), (level5, level4, level3, level2))


class FlowNetC(_Deep):
    """Both frames go through the same three layers and are then compared."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = _conv(3, 64, 7, 2), _conv(64, 128, 5, 2), _conv(128, 256, 5, 2)
        self.conv_redir = _conv(256, 32, 1)
        self.conv3_1 = _conv(32 + _SIDE**2, 256)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Frames ``[T, 3, h, w]``, sides multiples of 64, to flow ``[T, 2, h / 4, w / 4]`` in twentieths of pixels of full size."""
        level2 = self.conv2(self.conv1(a))
        here, there = self.conv3(level2), self.conv3(self.conv2(self.conv1(b)))
        found = F.leaky_relu(correlation(here, there), _SLOPE)
        return self._deeper(self.conv3_1(torch.cat([self.conv_redir(here), found], 1)), level2)


class FlowNetS(_Deep):
    """Both frames are two parts of one picture, and so are an earlier network's flow and how well it explains them."""

    def __init__(self) -> None:
        super().__init__(bias=False)
        self.conv1, self.conv2, self.conv3, self.conv3_1 = _conv(12, 64, 7, 2), _conv(64, 128, 5, 2), _conv(128, 256, 5, 2), _conv(256, 256)

    def forward(self, seen: Tensor) -> Tensor:
        """Planes ``[T, 12, h, w]`` to flow ``[T, 2, h / 4, w / 4]``, as of :class:`FlowNetC`."""
        level2 = self.conv2(self.conv1(seen))
        return self._deeper(self.conv3_1(self.conv3(level2)), level2)


class FlowNetSD(_Deep):
    """FlowNetS for small displacements: small kernels, and no stride at the first."""

    def __init__(self) -> None:
        super().__init__(smoothed=True)
        self.conv0, self.conv1, self.conv1_1 = _conv(6, 64), _conv(64, 64, stride=2), _conv(64, 128)
        self.conv2, self.conv2_1 = _conv(128, 128, stride=2), _conv(128, 128)
        self.conv3, self.conv3_1 = _conv(128, 256, stride=2), _conv(256, 256)

    def forward(self, pair: Tensor) -> Tensor:
        """Frames ``[T, 6, h, w]`` to flow ``[T, 2, h / 4, w / 4]`` in units of 20 pixels."""
        level2 = self.conv2_1(self.conv2(self.conv1_1(self.conv1(self.conv0(pair)))))
        return self._deeper(self.conv3_1(self.conv3(level2)), level2)


class FlowNetFusion(_CoarseToFine):
    """One flow out of two, at full size."""

    def __init__(self) -> None:
        super().__init__(2, 128, ((128, 32), (64, 16)), smoothed=True)
        self.conv0, self.conv1, self.conv1_1 = _conv(11, 64), _conv(64, 64, stride=2), _conv(64, 128)
        self.conv2, self.conv2_1 = _conv(128, 128, stride=2), _conv(128, 128)

    def forward(self, seen: Tensor) -> Tensor:
        """Planes ``[T, 11, h, w]`` to flow ``[T, 2, h, w]`` in pixels."""
        level0 = self.conv0(seen)
        level1 = self.conv1_1(self.conv1(level0))
        return self._refined(self.conv2_1(self.conv2(level1)), (level1, level0))
