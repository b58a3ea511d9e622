"""F_w, the local branch: a network that reads two gray frames and predicts, for every pixel, one vertical and one horizontal kernel.

Deep Video Color Propagation, section 3.1 (eq. 2-4), after SepConv (Niklaus et al. 2017): two gray input channels, two kernels instead of
four, softmax over the taps (applied by :mod:`dvcp.ops.sepwarp`, so that kernels sum to one exactly and constant colour stays constant).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (32, 64, 128, 256, 512)
#: encoder depth: inputs are padded to a multiple of this
MULTIPLE = 32


class _ConvReLU(nn.Module):
    """3x3 convolution and ReLU, with batch norm between them while training.

    Without it the network, 30 layers deep, does not train: from the second dozen of steps the logits ran off to 1e5 and beyond with every
    initialisation and learning rate tried. Batch norm folds into the convolution, so what ships is the paper's plain network.
    """

    def __init__(self, inputs: int, outputs: int, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs) if norm else None

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return F.relu(x if self.norm is None else self.norm(x), inplace=True)

    def fold(self) -> None:
        norm, bias = self.norm, self.conv.bias
        if norm is None:
            return
        assert bias is not None and norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias.data = norm.bias + (bias - norm.running_mean) * scale
        self.conv.weight.data = self.conv.weight * scale[:, None, None, None]
        self.norm = None


def _basic(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    return nn.Sequential(*(_ConvReLU(inputs if k == 0 else outputs, outputs, norm) for k in range(3)))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)


class _KernelHead(nn.Module):
    """64 feature channels at half resolution to ``taps`` logits a pixel at full resolution."""

    def __init__(self, taps: int, norm: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(_ConvReLU(64, 64, norm), _ConvReLU(64, 64, norm), _ConvReLU(64, taps, norm))
        self.last = nn.Conv2d(taps, taps, 3, padding=1)
        # Start as "copy the previous frame, a little blurred": an even kernel blurs everything, a hard one has no gradient.
        distance = (torch.arange(taps) - taps // 2).abs()
        assert self.last.bias is not None
        with torch.no_grad():
            self.last.weight.mul_(0.1)
            self.last.bias.copy_(-(0.8 * distance).clamp(max=6.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(_double(self.body(x)))  # type: ignore[no-any-return]


class KernelNet(nn.Module):
    """F_w. 21.4 M parameters and 281 k multiply-adds a pixel at 51 taps.

    Args:
        taps: length of each 1-D kernel, odd; the reach is ``taps // 2`` pixels of the plane it runs on.
        norm: batch norm between convolutions and ReLUs, for training only (see :meth:`fold`).
    """

    def __init__(self, taps: int = 51, norm: bool = False) -> None:
        super().__init__()
        if taps % 2 == 0 or taps < 3:
            raise ValueError(f"taps must be odd and at least 3, not {taps}")
        self.taps = taps
        sizes = (2, *WIDTHS)
        self.encoder = nn.ModuleList(_basic(a, b, norm) for a, b in pairwise(sizes))
        self.decoder = nn.ModuleList(_basic(a, b, norm) for a, b in ((512, 512), (512, 256), (256, 128), (128, 64)))
        self.ups = nn.ModuleList(_ConvReLU(c, c, norm) for c in (512, 256, 128, 64))
        self.vertical = _KernelHead(taps, norm)
        self.horizontal = _KernelHead(taps, norm)

    def forward(self, previous: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
        """Kernel logits that carry ``previous`` onto ``current``.

        Args:
            previous: float ``[B, 1, h, w]``, Y' in [0, 1] of frame k-1. Any size; padded inside.
            current: the same of frame k.

        Returns:
            (vertical, horizontal) logits, each ``[B, taps, h, w]``, before softmax.
        """
        height, width = current.shape[-2:]
        pad = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        x = F.pad(torch.cat([previous, current], 1), pad, mode="replicate")
        x = x.contiguous(memory_format=torch.channels_last)
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = F.avg_pool2d(x, 2)
        # Four times: block, twice the size, the encoder's features of that size added. The last stands at half resolution.
        for block, up, skip in zip(self.decoder, self.ups, reversed(skips[1:]), strict=True):
            x = up(_double(block(x))) + skip
        return self.vertical(x)[..., :height, :width], self.horizontal(x)[..., :height, :width]

    def fold(self) -> KernelNet:
        """Fold batch norm into the convolutions, in place; the network is then for inference only. Returns itself."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, _ConvReLU):
                    module.fold()
        return self.eval()
