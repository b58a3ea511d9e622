"""The working grid: where networks see the picture. Half the luma size, capped for big scans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.ops.guided import guided_upsample

#: matching works on 4 x 4 cells at half resolution in pairs, so full-size pictures come in multiples of this
MULTIPLE = 16


@dataclass(frozen=True)
class WorkingGrid:
    """Sizes on which a film of ``height`` x ``width`` is worked on.

    Attributes:
        height, width: of the working grid.
        colour: of the film.
        film: (H, W) of the film's luma.
    """

    height: int
    width: int
    colour: ColourSpec
    film: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int, colour: ColourSpec, working_height: int) -> WorkingGrid:
        """Half of the film, or of ``working_height`` lines (of luma) when the film has more."""
        scale = min(1.0, working_height / min(height, width))
        return cls(max(8, round(height * scale / 2 + 1e-6)), max(8, round(width * scale / 2 + 1e-6)), colour, (height, width))

    def luma(self, samples: NDArray[Any], device: torch.device) -> tuple[Tensor, Tensor]:
        """Native luma ``[T, H, W]`` to Y' on the working grid ``[T, 1, h, w]`` and at twice its size ``[T, 1, 2h', 2w']``, padded by edge
        repetition to multiples of 16, for the backbone."""
        full = self.full(samples, device)
        pad = (0, -full.shape[-1] % MULTIPLE, 0, -full.shape[-2] % MULTIPLE)
        return F.avg_pool2d(full, 2), F.pad(full, pad, mode="replicate") if any(pad) else full

    def full(self, samples: NDArray[Any], device: torch.device) -> Tensor:
        """Native luma ``[T, H, W]`` to Y' at twice the working grid, ``[T, 1, 2h, 2w]``."""
        # Frame by frame: a window of a 4K film is a gigabyte in float.
        return torch.cat([self._full(samples[k : k + 1], device) for k in range(len(samples))])

    def _full(self, samples: NDArray[Any], device: torch.device) -> Tensor:
        full = torch.from_numpy(luma_to_unit(samples, self.colour)).to(device)[:, None]
        double = (2 * self.height, 2 * self.width)
        if tuple(full.shape[-2:]) == double:
            return full
        larger = double[0] > full.shape[-2]
        mode = {"mode": "bilinear", "align_corners": False} if larger else {"mode": "area"}
        return F.interpolate(full, size=double, **mode)

    def gray(self, padded: Tensor) -> NDArray[np.uint8]:
        """Y' at twice the working grid, as :meth:`luma` gives it, as the flow search reads it: uint8 ``[T, 2h, 2w]``."""
        full = padded[:, 0, : 2 * self.height, : 2 * self.width]
        return (full * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def chroma(self, planes: NDArray[Any], device: torch.device) -> Tensor:
        """Centred chroma ``[..., 2, Hc, Wc]`` of the film to the working grid."""
        # tensor() copies: a reference may lie in shared memory, which cannot be written, and from_numpy() warns of that
        c = torch.tensor(planes, device=device)
        if tuple(c.shape[-2:]) == (self.height, self.width):
            return c
        return F.interpolate(c[None], size=(self.height, self.width), mode="area")[0]

    def restore(self, chroma: Tensor, guide: Tensor, samples: NDArray[Any]) -> Tensor:
        """Working chroma ``[T, 2, h, w]`` to the film's chroma grid ``[T, 2, Hc, Wc]``, led by the film's luma ``samples``."""
        shape = self.colour.chroma_shape(*self.film)
        if tuple(chroma.shape[-2:]) == shape:
            return chroma
        out = chroma.new_empty(len(chroma), 2, *shape)
        for k in range(len(chroma)):
            full = torch.from_numpy(luma_to_unit(samples[k : k + 1], self.colour)).to(chroma.device)[:, None]
            target = full if tuple(full.shape[-2:]) == shape else F.interpolate(full, size=shape, mode="area")
            out[k : k + 1] = guided_upsample(chroma[k : k + 1], guide[k : k + 1], target)
        return out

    def restore_confidence(self, confidence: Tensor) -> Tensor:
        """Confidence in [0, 1], ``[T, 1, h, w]``, to uint8 ``[T, Hc, Wc]``."""
        shape = self.colour.chroma_shape(*self.film)
        if tuple(confidence.shape[-2:]) != shape:
            confidence = F.interpolate(confidence, size=shape, mode="nearest")
        return (confidence[:, 0] * 255).round().clamp(0, 255).to(torch.uint8)
