"""The feature fusion module of TCVC (Liu et al. 2021, section 3.1, figure 4), for features of any generator.

The features of a frame come from both sides, by motion: those behind from the next anchor, those ahead from the frame before. A weighting
network chooses between them at every place, a refine network adds what is still missing.

Where paper and released weights differ, this is what the weights are for: luma features come from two layers of their own, not from G_E,
and the reduction of channels has a 3x3 convolution between its two of 1x1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SLOPE = 0.1
#: of the frame before, the frame, the frame after
_LUMAS = 3


class ThreeLayers(nn.Module):
    """Three convolutions, a leaky ReLU between."""

    def __init__(self, widths: Sequence[int], kernels: Sequence[int] = (3, 3, 3)) -> None:
        super().__init__()
        for k, ((inputs, outputs), kernel) in enumerate(zip(pairwise(widths), kernels, strict=True), 1):
            self.add_module(f"conv{k}", nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))

    @property
    def last(self) -> nn.Module:
        """The last convolution."""
        return self.get_submodule("conv3")

    def forward(self, x: Tensor) -> Tensor:
        conv1, conv2, conv3 = self.children()
        out: Tensor = conv3(F.leaky_relu(conv2(F.leaky_relu(conv1(x), _SLOPE)), _SLOPE))
        return out


class FeatureFusion(nn.Module):
    """Features of a frame out of those that came to it from both sides. 1.675 M parameters at the paper's sizes.

    Args:
        channels: of the generator's features.
        luma: of the luma features.
        reduced: to how many channels features are brought before they are refined.
        weighting: hidden widths of the weighting network.
        refine: hidden widths of the refine network.
    """

    def __init__(
        self,
        channels: int = 128,
        luma: int = 32,
        reduced: int = 64,
        weighting: tuple[int, int] = (196, 64),
        refine: tuple[int, int] = (196, 128),
    ) -> None:
        super().__init__()
        self.luma = nn.Sequential(nn.Conv2d(1, luma, 3, padding=1), nn.LeakyReLU(_SLOPE), nn.Conv2d(luma, luma, 3, padding=1))
        self.reduction = ThreeLayers((channels, reduced, reduced, reduced), (1, 3, 1))
        self.weighting = ThreeLayers((_LUMAS * luma + 2 * channels, *weighting, 1))
        self.refine = ThreeLayers((_LUMAS * luma + 3 * reduced, *refine, channels))

    @classmethod
    def of(cls, channels: int) -> FeatureFusion:
        """At the paper's sizes for generators as wide as the paper's; for narrow ones, as ours, a quarter as wide."""
        if channels >= 128:
            return cls(channels)
        return cls(channels, luma=16, reduced=16, weighting=(48, 24), refine=(64, 32))

    def luma_features(self, luma: Tensor) -> Tensor:
        """Float ``[T, luma, h, w]`` of (L* - 50) / 100 ``[T, 1, h, w]``, on the grid of the generator's features."""
        found: Tensor = self.luma(luma)
        return found

    def fuse(
        self,
        lumas: tuple[Tensor, Tensor, Tensor],
        behind: Tensor,
        behind_next: Tensor,
        ahead: Tensor,
        before: Tensor,
        *,
        prior: Tensor | None = None,
        detach: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Features of frame i.

        Args:
            lumas: luma features of frames i - 1, i and i + 1, each ``[T, luma, h, w]``.
            behind: F^b_i ``[T, channels, h, w]``, brought to frame i from frame i + 1.
            behind_next: F^b_{i+1}, on the grid of frame i + 1.
            ahead: F^f_i, brought to frame i from frame i - 1.
            before: F~_{i-1}, on the grid of frame i - 1.
            prior: ``[T, 1, h, w]`` in log-odds, what is known beside the features; positive speaks for ``ahead``. None: nothing, as in
                the paper.
            detach: the refine network's error goes no further back than to the reduction, as in the authors' training.

        Returns:
            F~_i ``[T, channels, h, w]`` and W ``[T, 1, h, w]`` in [0, 1], the share of ``ahead``.
        """
        odds = self.weighting(torch.cat([*lumas, behind, ahead], 1))
        weight = torch.sigmoid(odds if prior is None else odds + prior)
        mixed = weight * ahead + (1 - weight) * behind
        around = (x.detach() if detach else x for x in (behind_next, before, mixed))
        return mixed + self.refine(torch.cat([*lumas, *(self.reduction(x) for x in around)], 1)), weight
