"""Deep Video Color Propagation as the paper has it (Meyer et al. 2018): local warp F_w, global match F_s, fusion F_f.

I^w_k = warp(I_{k-1}, F_w(G_{k-1}, G_k)); I^s_k = colours of the reference at its nearest features; I_k = F_f(G_k, I^w_k, I^s_k), with
Y' = G_k (figure 2). ``branches`` leaves parts out, which gives the paper's two ablations as methods of their own.
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

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec
from dvcp.methods.grid import WorkingGrid
from dvcp.nets.features import Backbone, load_backbone
from dvcp.nets.fusion import FusionNet
from dvcp.nets.weights import PAPER, load_local, load_part, weights_digest
from dvcp.ops.match import ReferenceCells, coarse_match, fine_match, reference_cells
from dvcp.ops.precision import fast_dtype
from dvcp.ops.sepwarp import sepwarp

State = dict[str, NDArray[Any]]
Branches = Literal["paper", "paper-local", "paper-global"]
#: how fast confidence falls with the luma the warp could not explain: e-fold at 1/12 of the range
_WARP_TRUST = 12.0


@dataclass(frozen=True)
class Settings:
    """What decides the picture.

    Attributes:
        branches: "paper" (both branches fused), "paper-local" or "paper-global".
        weights: safetensors file or URL with F_w and F_f; "paper" is what ships.
        backbone: of the global branch.
        working_height: most lines of luma the networks see; bigger films are worked on at this height, and colour comes back along edges.
        device: "auto" is CUDA when there is one, else the CPU.
    """

    branches: Branches = "paper"
    weights: str = PAPER
    backbone: str = "efficientnet-lite0"
    working_height: int = 576
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class Anchor:
    """A reference's features and picture, on the CPU: it travels to every matcher."""

    cells: ReferenceCells
    planes: Tensor


class DeepPropagation:
    """The method, as a :class:`dvcp.methods.base.Method`.

    Networks are loaded when first used: a matcher never holds F_w, a propagator no backbone.
    """

    window = WindowSpec(8)

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name: str = settings.branches
        choice = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(choice if settings.device == "auto" else settings.device)
        self.dtype = fast_dtype(self.device)
        self._loaded: dict[str, Any] = {}

    def digest(self) -> str:
        parts = {**asdict(self.settings), "device": self.device.type, "dtype": str(self.dtype), "window": self.window.frames, "revision": 1}
        # What the weights are, never where they lie; the local branch matches too, when a reference comes from outside the shot.
        parts["weights"] = "" if self.settings.branches == "paper-global" else weights_digest(self.settings.weights)
        parts["backbone_weights"] = self._backbone.weights_digest
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def _backbone(self) -> Backbone:
        if "backbone" not in self._loaded:
            self._loaded["backbone"] = load_backbone(self.settings.backbone).to(self.device)
        return self._loaded["backbone"]  # type: ignore[no-any-return]

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            weights = self.settings.weights
            net: Any = load_local(weights) if part == "local" else load_part(weights, "fusion", FusionNet())
            # torch does not annotate memory_format
            self._loaded[part] = net.to(self.device, self.dtype, memory_format=torch.channels_last)
        return self._loaded[part]

    def _grid(self, shape: tuple[int, ...], colour: ColourSpec) -> WorkingGrid:
        return WorkingGrid.of(shape[-2], shape[-1], colour, self.settings.working_height)

    @torch.inference_mode()
    def anchor(self, reference: Reference, colour: ColourSpec) -> Anchor | None:
        """Features and picture of a reference; None for the local branch, which matches nothing."""
        if self.settings.branches == "paper-local" and reference.in_shot:
            return None
        grid = self._grid(reference.luma.shape, colour)
        half, full = grid.luma(reference.luma[None], self.device)
        seen = self._backbone(full)
        planes = torch.cat([half[0], grid.chroma(reference.chroma, self.device)]).cpu()
        cells = reference_cells(seen.deep[0], seen.middle[0], seen.fine[0])
        return Anchor(cells.to(torch.device("cpu")), planes)

    @torch.inference_mode()
    def match(self, window: Window, anchor: Anchor | None) -> Evidence:
        """I^s and the similarity of deep features, frame by frame (one at a time, so that memory does not grow with the window)."""
        if anchor is None:
            return Evidence()
        grid = self._grid(window.luma.shape, window.colour)
        cells = anchor.cells.to(self.device)
        rows, columns = cells.grid
        fine_width = 4 * columns
        picture = anchor.planes.to(self.device)
        planes, confidence = [], []
        for frame in window.luma:
            seen = self._backbone(grid.luma(frame[None], self.device)[1])
            place, similarity = coarse_match(seen.deep[0], seen.middle[0], cells)
            pixel = fine_match(seen.fine[0], place, cells)[: grid.height, : grid.width]
            # Cells in the padding of the reference stand for its last row and column.
            y, x = (pixel // fine_width).clamp(max=grid.height - 1), (pixel % fine_width).clamp(max=grid.width - 1)
            planes.append(picture[:, y, x])
            sure = similarity.reshape(rows, columns).repeat_interleave(4, 0).repeat_interleave(4, 1)[: grid.height, : grid.width]
            confidence.append((sure.clamp(0, 1) * 255).round().to(torch.uint8))
        return Evidence(torch.stack(planes).to(torch.float16).cpu().numpy(), torch.stack(confidence).cpu().numpy())

    def start(self, reference: Reference, colour: ColourSpec) -> State | None:
        if not reference.in_shot:
            return None
        grid = self._grid(reference.luma.shape, colour)
        half, _ = grid.luma(reference.luma[None], torch.device("cpu"))
        sure = torch.ones_like(half[0])
        return {"planes": torch.cat([half[0], grid.chroma(reference.chroma, torch.device("cpu")), sure]).numpy()}

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window. The state is I_{k-1} and its confidence on the working grid: float32 ``[4, h, w]``, Y', Cb, Cr, confidence."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, _ = grid.luma(window.luma, self.device)
        matched = sure = None
        if evidence.planes is not None and evidence.confidence is not None:
            matched = torch.from_numpy(np.array(evidence.planes)).to(self.device).float()
            sure = torch.from_numpy(np.array(evidence.confidence)).to(self.device).float()[:, None] / 255
        if self.settings.branches == "paper-global":
            assert matched is not None and sure is not None
            return {}, self._chroma(matched[:, 1:], sure, luma, window, grid)
        last = self._first(state, matched, sure, luma)
        colours, confidences = [], []
        for k in range(len(luma)):
            frame = luma[k : k + 1]
            # One frame at a time: a batch of logits (42 MB a 480p frame) is no faster and would decide the memory of the whole actor.
            kernels = self._net("local")(last[:, :1].to(self.dtype), frame.to(self.dtype))
            warped = sepwarp(last, *kernels)
            trust = warped[:, 3:] * torch.exp(-_WARP_TRUST * (warped[:, :1] - frame).abs())
            if self.settings.branches == "paper":
                assert matched is not None and sure is not None
                chroma = self._net("fusion")(frame, warped[:, :3], matched[k : k + 1])
                trust = torch.maximum(trust, sure[k : k + 1] * 0.5)
            else:
                chroma = warped[:, 1:3]
            chroma = chroma.clamp(-0.5, 0.5)
            last = torch.cat([frame, chroma, trust.clamp(0, 1)], 1)
            colours.append(chroma)
            confidences.append(last[:, 3:])
        return {"planes": last[0].cpu().numpy()}, self._chroma(torch.cat(colours), torch.cat(confidences), luma, window, grid)

    def _first(self, state: State | None, matched: Tensor | None, sure: Tensor | None, luma: Tensor) -> Tensor:
        """I_{k-1} of the window's first frame. Without a painted frame in the shot, its own match stands in for it."""
        if state is not None:
            return torch.from_numpy(np.array(state["planes"])).to(self.device)[None]
        assert matched is not None and sure is not None, "a reference from outside the shot needs a match"
        return torch.cat([luma[:1], matched[:1, 1:], sure[:1] * 0.5], 1)

    def _chroma(self, chroma: Tensor, sure: Tensor, luma: Tensor, window: Window, grid: WorkingGrid) -> Chroma:
        planes = grid.restore(chroma, luma, window.luma)
        return Chroma(planes.float().cpu().numpy(), grid.restore_confidence(sure).cpu().numpy())
