"""CIE L*a*b* (D65, 2 degrees) of sRGB pictures and back, in torch: the colour space of Deep Exemplar-based Video Colorization.

Constants are scikit-image's, with which the authors made their training data. Everything is float32 ``[B, 3, H, W]``: R'G'B' in [0, 1];
L* in [0, 100], a* and b* as they are (about [-128, 128]); Y' in [0, 1] with Cb and Cr in [-0.5, 0.5].
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dvcp.colour import Matrix, rgb_to_ycbcr, ycbcr_to_rgb

_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
#: linear R, G, B to X, Y, Z as shares of the white
_TO_WHITE = _XYZ / np.array([[0.95047], [1.0], [1.08883]])
_FROM_WHITE = np.linalg.inv(_TO_WHITE)


def _mixed(planes: Tensor, matrix: np.ndarray) -> Tensor:
    return torch.einsum("ij,bjhw->bihw", torch.tensor(matrix, dtype=planes.dtype, device=planes.device), planes)


def _linear(encoded: Tensor) -> Tensor:
    # clamp: the branch that where() does not take must not be a root of a negative number
    return torch.where(encoded > 0.04045, ((encoded.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, encoded / 12.92)


def _encoded(linear: Tensor) -> Tensor:
    return torch.where(linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, linear * 12.92)


def _lightness(share: Tensor) -> Tensor:
    return torch.where(share > 0.008856, share.clamp(min=0.008856) ** (1 / 3), 7.787 * share + 16 / 116)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """L*, a*, b* of R'G'B'."""
    x, y, z = _lightness(_mixed(_linear(rgb), _TO_WHITE)).split(1, 1)
    return torch.cat([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """R'G'B' of L*, a*, b*; what no sRGB display can show is clipped to [0, 1], channel by channel, as scikit-image does."""
    y = (lab[:, :1] + 16) / 116
    f = torch.cat([y + lab[:, 1:2] / 500, y, (y - lab[:, 2:] / 200).clamp(min=0)], 1)
    share = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)
    return _encoded(_mixed(share, _FROM_WHITE)).clamp(0, 1)


def gray_to_lightness(luma: Tensor) -> Tensor:
    """L* of Y' ``[B, 1, H, W]`` taken for an sRGB gray, R' = G' = B' = Y'; foot- and headroom are clipped."""
    return 116 * _lightness(_linear(luma.clamp(0, 1))) - 16


def ycbcr_to_rgb_planes(planes: Tensor, matrix: Matrix) -> Tensor:
    """R'G'B' of Y', Cb, Cr, clipped to [0, 1]."""
    return _mixed(planes, ycbcr_to_rgb(np.eye(3), matrix).T).clamp(0, 1)


def lab_to_chroma(lab: Tensor, matrix: Matrix) -> Tensor:
    """Cb and Cr ``[B, 2, H, W]`` of L*, a*, b*."""
    return _mixed(lab_to_rgb(lab), rgb_to_ycbcr(np.eye(3), matrix).T[1:])
