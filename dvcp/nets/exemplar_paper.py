"""The three networks of Deep Exemplar-based Video Colorization (Zhang et al. 2019), tensor for tensor those of the authors' checkpoints.

VGG19 (Caffe's weights) sees a frame and the reference, the correspondence network N brings its features to one grid where
they can be compared, and the colorization network C turns what was found into colour (section 3.2). Names of the attributes are the keys
of the checkpoints. Where the paper and the authors' code differ (three residual blocks, not four), this is the code: the weights are its.

They run in float32. An instance norm takes away what all places share, and with it most of what bfloat16's 8 bits hold: with noise for
weights, C errs by a sixth of its own spread, and one place in twelve is matched elsewhere.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: relu2_2, relu3_2, relu4_2 and relu5_2: ``[B, 128, H/2, W/2]``, ``[B, 256, H/4, W/4]``, ``[B, 512, H/8, W/8]``, ``[B, 512, H/16, W/16]``
Levels = tuple[Tensor, Tensor, Tensor, Tensor]

#: both sides of a picture are multiples of these (height, width), and at least LEAST: reflection needs two rows of relu5_2
MULTIPLES = (8, 16)
LEAST = 32

#: convolutions and width of each block of VGG19
_VGG_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
#: mean of the blue, green and red channel in Caffe's training
_VGG_MEAN = (0.40760392, 0.45795686, 0.48501961)


class VGG19(nn.Module):
    """VGG19, 20.02 M parameters. conv5_3 and conv5_4 are in the file and give nothing here."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for block, (count, width) in enumerate(_VGG_BLOCKS, 1):
            for k in range(1, count + 1):
                self.add_module(f"conv{block}_{k}", nn.Conv2d(inputs, width, 3, padding=1))
                inputs = width

    def forward(self, rgb: Tensor) -> Levels:
        """The second activation of blocks 2 to 5.

        Args:
            rgb: float ``[B, 3, H, W]`` in [0, 1].
        """
        x = (rgb.flip(1) - rgb.new_tensor(_VGG_MEAN)[:, None, None]) * 255
        seen = []
        for block, (count, _) in enumerate(_VGG_BLOCKS, 1):
            for k in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{block}_{k}")(x))
                if k == 2:
                    seen.append(x)
                    if block == len(_VGG_BLOCKS):
                        return seen[1], seen[2], seen[3], seen[4]
            x = F.max_pool2d(x, 2)
        raise AssertionError("the last block returns")


def _step(inputs: int, width: int, stride: int = 1) -> list[nn.Module]:
    return [nn.ReflectionPad2d(1), nn.Conv2d(inputs, width, 3, stride), nn.InstanceNorm2d(width), nn.PReLU()]


class _Residual(nn.Module):
    """Two convolutions and a shortcut; one PReLU, used twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3), nn.Conv2d(width, width, 3)
        self.prelu = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(F.instance_norm(self.conv1(F.pad(x, (1, 1, 1, 1), mode="reflect"))))
        y = F.instance_norm(self.conv2(F.pad(y, (1, 1, 1, 1), mode="reflect")))
        activated: Tensor = self.prelu(x + y)
        return activated


class WarpNet(nn.Module):
    """The correspondence network N, 6.92 M parameters: features of a frame (``query``) and of the reference (``key``) that can be compared
    place by place. All layers but the last are the same for both. What comes in is brought to unit length at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.layer2_1 = nn.Sequential(*_step(128, 128), *_step(128, 64, stride=2))
        self.layer3_1 = nn.Sequential(*_step(256, 128), *_step(128, 64))
        self.layer4_1 = nn.Sequential(*_step(512, 256), *_step(256, 64), nn.Upsample(scale_factor=2))
        self.layer5_1 = nn.Sequential(*_step(512, 256), nn.Upsample(scale_factor=2), *_step(256, 64), nn.Upsample(scale_factor=2))
        self.layer = nn.Sequential(*(_Residual(256) for _ in range(3)))
        self.theta, self.phi = nn.Conv2d(256, 256, 1), nn.Conv2d(256, 256, 1)

    def _joint(self, seen: Levels) -> Tensor:
        layers = (self.layer2_1, self.layer3_1, self.layer4_1, self.layer5_1)
        level2, level3, level4, level5 = (
            layer(F.normalize(x, dim=1, eps=sys.float_info.epsilon)) for layer, x in zip(layers, seen, strict=True)
        )
        if level5.shape[2] != level2.shape[2]:
            # Half a row of relu5_2 was lost where the height is an odd multiple of 8.
            level5 = F.pad(level5, (0, 0, 1, 1), mode="replicate")
        joint: Tensor = self.layer(torch.cat([level2, level3, level4, level5], 1))
        return joint

    def query(self, seen: Levels) -> Tensor:
        """theta ``[B, 256, H/4, W/4]`` of a gray frame, neither centred nor normalised."""
        theta: Tensor = self.theta(self._joint(seen))
        return theta

    def key(self, seen: Levels) -> Tensor:
        """phi ``[B, 256, H/4, W/4]`` of a reference, likewise."""
        phi: Tensor = self.phi(self._joint(seen))
        return phi


def _conv(inputs: int, width: int, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, width, 3, padding=dilation, dilation=dilation)


def _halving(width: int) -> nn.Conv2d:
    """Every second place, each channel by a factor of its own."""
    return nn.Conv2d(width, width, 1, stride=2, groups=width, bias=False)


def _doubling(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2), _conv(inputs, width))


class ColorVidNet(nn.Module):
    """The colorization network C, 32.80 M parameters: a U-shaped network down to 1/8 of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1 = nn.Sequential(_conv(7, 32), nn.ReLU(), _conv(32, 64))
        self.conv1_2, self.conv1_2norm_ss = _conv(64, 64), _halving(64)
        self.conv2_1, self.conv2_2, self.conv2_2norm_ss = _conv(64, 128), _conv(128, 128), _halving(128)
        self.conv3_1, self.conv3_2, self.conv3_3, self.conv3_3norm_ss = _conv(128, 256), _conv(256, 256), _conv(256, 256), _halving(256)
        self.conv4_1, self.conv4_2, self.conv4_3 = _conv(256, 512), _conv(512, 512), _conv(512, 512)
        self.conv5_1, self.conv5_2, self.conv5_3 = (_conv(512, 512, dilation=2) for _ in range(3))
        self.conv6_1, self.conv6_2, self.conv6_3 = (_conv(512, 512, dilation=2) for _ in range(3))
        self.conv7_1, self.conv7_2, self.conv7_3 = (_conv(512, 512) for _ in range(3))
        self.conv8_1, self.conv8_2, self.conv8_3 = _doubling(512, 256), _conv(256, 256), _conv(256, 256)
        self.conv9_1, self.conv9_2 = _doubling(256, 128), _conv(128, 128)
        self.conv10_1, self.conv10_2, self.conv10_ab = _doubling(128, 128), _conv(128, 128), nn.Conv2d(128, 2, 1)
        self.conv3_3_short, self.conv2_2_short, self.conv1_2_short = _conv(256, 256), _conv(128, 128), _conv(64, 128)

    def _block(self, x: Tensor, *layers: nn.Module) -> Tensor:
        """Convolutions, each with its ReLU; then the norm."""
        for layer in layers:
            x = F.relu(layer(x))
        return F.instance_norm(x)

    def forward(self, seen: Tensor) -> Tensor:
        """Colour of a frame.

        Args:
            seen: float32 ``[B, 7, H, W]``: L* - 50 of the frame; a* and b* warped from the reference; their similarity S; L* - 50, a* and
                b* of the last frame as it was coloured, or zeros. H and W are multiples of 8.

        Returns:
            a* and b*, float32 ``[B, 2, H, W]`` in (-128, 128).
        """
        x = F.relu(self.conv1_1(seen))
        level1 = self._block(x, self.conv1_2)
        level2 = self._block(self.conv1_2norm_ss(level1), self.conv2_1, self.conv2_2)
        level3 = self._block(self.conv2_2norm_ss(level2), self.conv3_1, self.conv3_2, self.conv3_3)
        x = self._block(self.conv3_3norm_ss(level3), self.conv4_1, self.conv4_2, self.conv4_3)
        x = self._block(x, self.conv5_1, self.conv5_2, self.conv5_3)
        x = self._block(x, self.conv6_1, self.conv6_2, self.conv6_3)
        x = self._block(x, self.conv7_1, self.conv7_2, self.conv7_3)
        x = self._block(F.relu(self.conv8_1(x) + self.conv3_3_short(level3)), self.conv8_2, self.conv8_3)
        x = self._block(F.relu(self.conv9_1(x) + self.conv2_2_short(level2)), self.conv9_2)
        x = F.relu(self.conv10_1(x) + self.conv1_2_short(level1))
        x = F.leaky_relu(self.conv10_2(x), 0.2)
        return torch.tanh(self.conv10_ab(x)) * 128
