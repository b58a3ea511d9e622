"""The generator G of TCVC (Liu et al. 2021), which colours single frames, cut in two: G_E makes features, G_C makes colours of them.

Colour goes from frame to frame as features, between the two halves; any network that can be cut so will do.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import Matrix
from dvcp.ops.lab import gray_to_lightness, lab_to_chroma


class Generator(Protocol):
    """A network that colours gray frames.

    Attributes:
        channels: C, of the features.
        stride: pixels along one side of a place of the features.
    """

    @property
    def channels(self) -> int: ...
    @property
    def stride(self) -> int: ...

    def to(self, device: torch.device) -> Generator: ...

    def features(self, luma: Tensor) -> Tensor:
        """G_E.

        Args:
            luma: Y', float32 ``[T, 1, h, w]`` in [0, 1], any size.

        Returns:
            float32 ``[T, C, ceil(h / stride), ceil(w / stride)]``.
        """
        ...

    def colours(self, features: Tensor, luma: Tensor, matrix: Matrix = "bt709") -> Tensor:
        """G_C.

        Args:
            features: as :meth:`features` makes them, of the same frames or propagated to them.
            luma: Y' of the frames.
            matrix: of the stream, for the way from the network's colour space to Y'CbCr.

        Returns:
            Cb and Cr, float32 ``[T, 2, h', w']`` in [-0.5, 0.5], on the grid of the frames, of the features, or between.
        """
        ...


def centred_lightness(luma: Tensor) -> Tensor:
    """(L* - 50) / 100 of Y' ``[T, 1, h, w]``, in [-0.5, 0.5]."""
    return (gray_to_lightness(luma) - 50) / 100


def on_grid(luma: Tensor, planes: Tensor) -> Tensor:
    """Y' ``[T, 1, h, w]`` on the grid of ``planes``, no finer."""
    return luma if luma.shape[-2:] == planes.shape[-2:] else F.interpolate(luma, size=planes.shape[-2:], mode="area")


def light_of(luma: Tensor, planes: Tensor) -> Tensor:
    """What the fusion sees of Y' ``[T, 1, h, w]``: (L* - 50) / 100 on the grid of ``planes``."""
    return centred_lightness(on_grid(luma, planes))


def padded(planes: Tensor, multiple: int) -> Tensor:
    """Planes ``[T, C, h, w]`` whose last row and column are repeated up to a multiple of ``multiple``."""
    height, width = planes.shape[-2:]
    return F.pad(planes, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def ab_to_chroma(ab: Tensor, luma: Tensor, matrix: Matrix) -> Tensor:
    """Cb and Cr of a*, b* ``[T, 2, h, w]`` at the frames' own L*."""
    return lab_to_chroma(torch.cat([gray_to_lightness(luma), ab], 1), matrix)
