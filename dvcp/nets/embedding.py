"""What is in a picture, as one vector: the whole EfficientNet-Lite0, whose last layers say what is seen and no longer where."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.nets.features import ConvBN, EfficientNetLite0, Inverted, lite0_weights

# (expansion, kernel, stride, width) of blocks 11..15, which follow those of dvcp.nets.features.
_LATE = ((6, 5, 2, 192), (6, 5, 1, 192), (6, 5, 1, 192), (6, 5, 1, 192), (6, 3, 1, 320))
_FIRST, _INPUTS, _STEP = 11, 112, 32
#: pictures are looked at in about so many samples (224 lines of 4:3), whatever their shape
_AREA = 224 * 299
#: values of an embedding
CHANNELS = 1280


class PictureEmbedder(nn.Module):
    """EfficientNet-Lite0 without its classifier: gray pictures to vectors.

    Args:
        path: as for :func:`dvcp.nets.features.lite0_weights`.

    Raises:
        WeightsError: the file is missing or has other keys.
    """

    def __init__(self, path: str | None = None) -> None:
        super().__init__()
        self.trunk = EfficientNetLite0(path)
        with lite0_weights(path) as (state, _):
            widths = [_INPUTS] + [b[3] for b in _LATE]
            late = [Inverted(state, _FIRST + k, widths[k], *b) for k, b in enumerate(_LATE)]
            self.late = nn.Sequential(*late, ConvBN(state, "_conv_head", "_bn1"))

    def forward(self, gray: Tensor) -> Tensor:
        """Unit vectors ``[B, 1280]`` of ``gray``, ``[B, 1, H, W]``: Y' in [0, 1], H and W multiples of 32."""
        seen: Tensor = self.late(self.trunk(gray).deep)
        return F.normalize(seen.mean((2, 3)))


def reduced(luma: NDArray[np.float32]) -> NDArray[np.float32]:
    """``luma`` (Y' in [0, 1], ``[H, W]``) at the size pictures are embedded at: about 224 x 299 samples of the same aspect."""
    height, width = luma.shape
    scale = (_AREA / (height * width)) ** 0.5
    size = [max(_STEP, round(n * scale / _STEP) * _STEP) for n in (height, width)]
    small = F.interpolate(torch.from_numpy(np.ascontiguousarray(luma))[None, None], size=size, mode="area")
    out: NDArray[np.float32] = small[0, 0].numpy()
    return out
