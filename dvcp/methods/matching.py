"""The match that methods share: soft, on trained descriptors, with cues of how far to trust it. Stateless, frame by frame."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods.base import Evidence, Reference, Window
from dvcp.methods.grid import WorkingGrid
from dvcp.methods.networks import BackboneNetworks
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.weights import load_part
from dvcp.ops.lab import ycbcr_to_rgb_planes
from dvcp.ops.softmatch import Keys, doubled, joined, keys_of, soft_match


@dataclass(frozen=True, eq=False)
class Matched:
    """Evidence on the working grid: matched Y', Cb, Cr ``[T, 3, h, w]`` and its cues ``[T, 4, h, w]``, sureness first."""

    planes: Tensor
    cues: Tensor


class Matching(BackboneNetworks):
    """Base of the methods that match on descriptors."""

    #: whether a reference is described as it is, in colour, rather than in gray as the film is
    in_colour = False
    #: divides the sharpness with which likeness decides: above 1 more places share in each colour
    temperature = 1.0

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            dtype = torch.float32 if part == "descriptor" else self.dtype
            net: Any = load_part(self._settings.weights, part, DescriptorNet() if part == "descriptor" else self._decider())
            # torch does not annotate memory_format
            self._loaded[part] = net.to(self.device, dtype, memory_format=torch.channels_last)
        return self._loaded[part]

    @abstractmethod
    def _decider(self) -> torch.nn.Module:
        """The network that decides about colour, as it is before training."""

    def _keys(self, seen: Tensor, colours: Tensor | None = None) -> Keys:
        found = self._net("descriptor")(self._backbone(seen))
        return keys_of(found.coarse[0], found.fine[0], colours)

    @torch.inference_mode()
    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Keys | None:
        """Descriptors and colours of references, on the CPU."""
        return joined([self._reference_keys(reference, colour) for reference in references]).to(torch.device("cpu"))

    def _reference_keys(self, reference: Reference, colour: ColourSpec) -> Keys:
        grid = self._grid(reference.luma.shape, colour)
        half, padded = grid.luma(reference.luma[None], self.device)
        planes = torch.cat([half, grid.chroma(reference.chroma, self.device)[None]], 1)
        height, width = padded.shape[-2] // 2, padded.shape[-1] // 2
        planes = F.pad(planes, (0, width - grid.width, 0, height - grid.height), mode="replicate")
        if self.in_colour:
            chroma = F.interpolate(planes[:, 1:], size=padded.shape[-2:], mode="bilinear", align_corners=False)
            return self._keys(ycbcr_to_rgb_planes(torch.cat([padded, chroma], 1), colour.matrix), planes[0])
        return self._keys(padded, planes[0])

    @torch.inference_mode()
    def match(self, window: Window, anchor: Keys | None) -> Evidence:
        """Matched colours at half the working grid, the cues of the match behind their three planes.

        Frame by frame, so that memory does not grow with the window.
        """
        if anchor is None:
            return Evidence()
        grid = self._grid(window.luma.shape, window.colour)
        reference, sharpness = anchor.to(self.device), self._net("descriptor").decides() / self.temperature
        planes, confidence = [], []
        for frame in window.luma:
            found = soft_match(self._keys(grid.luma(frame[None], self.device)[1]), reference, sharpness)
            planes.append(torch.cat([found.colours, found.cues[1:]]).to(torch.float16))
            confidence.append((found.cues[0] * 255).round().to(torch.uint8))
        return Evidence(torch.stack(planes).cpu().numpy(), torch.stack(confidence).cpu().numpy())

    def _enlarged(self, evidence: Evidence, grid: WorkingGrid) -> Matched | None:
        """Evidence on the working grid; None where nothing was matched."""
        if evidence.planes is None:
            return None
        matched, sure = self._matched(evidence)
        planes = doubled(torch.cat([matched, sure], 1), grid.height, grid.width)
        return Matched(planes[:, :3], torch.cat([planes[:, 6:], planes[:, 3:6]], 1))
