"""The default method: Deep Video Color Propagation's three parts (Meyer et al. 2018), each in the form that measured best.

I^w_k comes along optical flow instead of predicted kernels, and with it the place of every pixel in the reference (:mod:`.carry`); I^s_k
is a soft match on trained descriptors instead of a hard one on ImageNet features; the fusion chooses among them. Y' = G_k always. The
paper's own form is :mod:`.paper`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec
from dvcp.methods.carry import Carried, State, Track
from dvcp.methods.grid import WorkingGrid
from dvcp.nets.choice import ChoiceNet
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.features import Backbone, load_backbone
from dvcp.nets.weights import DEFAULT, load_part, weights_digest
from dvcp.ops.precision import fast_dtype
from dvcp.ops.softmatch import Keys, keys_of, soft_match

Branches = Literal["dvcp", "local", "global"]
#: how fast the local branch alone turns from one of its two proposals to the other with the luma each leaves unexplained
_TURN = 40.0
#: expected chroma error at which confidence has fallen to 1/e
_DOUBT = 0.04
#: trust in colours that were only matched
_MATCHED = 0.5


@dataclass(frozen=True)
class Settings:
    """What decides the picture.

    Attributes:
        branches: "dvcp" (both branches fused), "local" or "global".
        weights: safetensors file or URL with descriptors and fusion; "default" is what ships.
        backbone: of the global branch.
        working_height: most lines of luma the networks see; bigger films are worked on at this height, and colour comes back along edges.
        device: "auto" is CUDA when there is one, else the CPU.
    """

    branches: Branches = "dvcp"
    weights: str = DEFAULT
    backbone: str = "efficientnet-lite0"
    working_height: int = 576
    device: str = "auto"


class GuidedPropagation:
    """The method, as a :class:`dvcp.methods.base.Method`. Networks are loaded when first used: a propagator holds no backbone."""

    window = WindowSpec(8)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name: str = settings.branches
        choice = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(choice if settings.device == "auto" else settings.device)
        self.dtype = fast_dtype(self.device)
        self._loaded: dict[str, Any] = {}

    def digest(self) -> str:
        parts = {**asdict(self.settings), "device": self.device.type, "dtype": str(self.dtype), "window": self.window.frames, "revision": 2}
        # What the weights are, never where they lie.
        parts["weights"] = weights_digest(self.settings.weights)
        parts["backbone_weights"] = self._backbone.weights_digest
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def _backbone(self) -> Backbone:
        if "backbone" not in self._loaded:
            self._loaded["backbone"] = load_backbone(self.settings.backbone).to(self.device)
        return self._loaded["backbone"]  # type: ignore[no-any-return]

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            net: Any = load_part(self.settings.weights, part, ChoiceNet() if part == "choice" else DescriptorNet())
            dtype = self.dtype if part == "choice" else torch.float32
            self._loaded[part] = net.to(self.device, dtype, memory_format=torch.channels_last)
        return self._loaded[part]

    def _grid(self, shape: tuple[int, ...], colour: ColourSpec) -> WorkingGrid:
        return WorkingGrid.of(shape[-2], shape[-1], colour, self.settings.working_height)

    def _keys(self, padded: Tensor, colours: Tensor | None = None) -> Keys:
        found = self._net("descriptor")(self._backbone(padded))
        return keys_of(found.coarse[0], found.fine[0], colours)

    @torch.inference_mode()
    def anchor(self, reference: Reference, colour: ColourSpec) -> Keys | None:
        """Descriptors and colours of a reference, on the CPU; None for the local branch, which matches nothing."""
        if self.settings.branches == "local" and reference.in_shot:
            return None
        grid = self._grid(reference.luma.shape, colour)
        half, padded = grid.luma(reference.luma[None], self.device)
        planes = torch.cat([half, grid.chroma(reference.chroma, self.device)[None]], 1)
        height, width = padded.shape[-2] // 2, padded.shape[-1] // 2
        planes = F.pad(planes, (0, width - grid.width, 0, height - grid.height), mode="replicate")
        return self._keys(padded, planes[0]).to(torch.device("cpu"))

    @torch.inference_mode()
    def match(self, window: Window, anchor: Keys | None) -> Evidence:
        """I^s at half the working grid and how sure it is, frame by frame (one at a time, so that memory does not grow with the window)."""
        if anchor is None:
            return Evidence()
        grid = self._grid(window.luma.shape, window.colour)
        reference, sharpness = anchor.to(self.device), self._net("descriptor").sharpness.exp()
        planes, confidence = [], []
        for frame in window.luma:
            found, sure = soft_match(self._keys(grid.luma(frame[None], self.device)[1]), reference, sharpness)
            planes.append(found.to(torch.float16))
            confidence.append((sure[0] * 255).round().to(torch.uint8))
        return Evidence(torch.stack(planes).cpu().numpy(), torch.stack(confidence).cpu().numpy())

    def start(self, reference: Reference, colour: ColourSpec) -> State | None:
        if not reference.in_shot:
            return None
        grid, cpu = self._grid(reference.luma.shape, colour), torch.device("cpu")
        half, padded = grid.luma(reference.luma[None], cpu)
        return Track.begin(torch.cat([half[0], grid.chroma(reference.chroma, cpu)]), _gray(padded, grid)[0]).state()

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window. The state is a :class:`Track`; a window without one begins at its own match."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, padded = grid.luma(window.luma, self.device)
        matched = sure = None
        if evidence.planes is not None and evidence.confidence is not None:
            matched = self._enlarged(torch.from_numpy(np.array(evidence.planes)).float(), grid)
            sure = self._enlarged(torch.from_numpy(np.array(evidence.confidence)).float()[:, None] / 255, grid)
        if self.settings.branches == "global":
            assert matched is not None and sure is not None
            return {}, self._chroma(matched[:, 1:], sure, luma, window, grid)
        grays = _gray(padded, grid)
        if state is not None:
            track = Track.of(state, self.device)
        else:
            assert matched is not None, "a reference from outside the shot needs a match"
            track = Track.begin(torch.cat([luma[0], matched[0, 1:]]), grays[0], _MATCHED)
        colours, confidences = [], []
        for k, gray in enumerate(grays):
            carried = track.step(gray)
            if self.settings.branches == "dvcp":
                assert matched is not None and sure is not None
                chroma, confidence = self._fuse(luma[k : k + 1], carried, matched[k : k + 1], sure[k : k + 1])
            else:
                chroma, confidence = _blended(luma[k : k + 1], carried), carried.trust[None]
            chroma = chroma.clamp(-0.5, 0.5)
            track = track.follow(carried, torch.cat([luma[k], chroma[0]]), gray)
            colours.append(chroma)
            confidences.append(confidence)
        return track.state(), self._chroma(torch.cat(colours), torch.cat(confidences), luma, window, grid)

    def _fuse(self, luma: Tensor, carried: Carried, matched: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
        proposals = (carried.warped[None], carried.anchored[None], matched)
        chroma, error = self._net("choice")(luma, proposals, torch.cat([carried.trust[None], carried.seen[None], sure], 1))
        return chroma, torch.exp(-error / _DOUBT)

    def _enlarged(self, planes: Tensor, grid: WorkingGrid) -> Tensor:
        doubled = F.interpolate(planes.to(self.device), scale_factor=2, mode="bilinear", align_corners=False)
        return doubled[..., : grid.height, : grid.width]

    def _chroma(self, chroma: Tensor, sure: Tensor, luma: Tensor, window: Window, grid: WorkingGrid) -> Chroma:
        planes = grid.restore(chroma, luma, window.luma)
        return Chroma(planes.float().cpu().numpy(), grid.restore_confidence(sure).cpu().numpy())


def _gray(padded: Tensor, grid: WorkingGrid) -> NDArray[np.uint8]:
    """Y' at twice the working grid as the flow search reads it, uint8 ``[T, 2h, 2w]``."""
    full = padded[:, 0, : 2 * grid.height, : 2 * grid.width]
    return (full * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


def _blended(luma: Tensor, carried: Carried) -> Tensor:
    """The local branch alone: its two proposals by how far the luma of each explains the frame, in a neighbourhood."""
    proposals = torch.stack([carried.warped, carried.anchored])
    left = F.avg_pool2d(F.pad((proposals[:, :1] - luma).abs(), (3, 3, 3, 3), mode="replicate"), 7, 1)
    share = torch.sigmoid(_TURN * (left[1] - left[0]))
    return carried.anchored[None, 1:] + share * (carried.warped - carried.anchored)[None, 1:]
