"""Deep Video Color Propagation as the paper has it (Meyer et al. 2018): local warp F_w, global match F_s, fusion F_f.

I^w_k = warp(I_{k-1}, F_w(G_{k-1}, G_k)); I^s_k = colours of the reference at its nearest features; I_k = F_f(G_k, I^w_k, I^s_k), with
Y' = G_k (figure 2). ``branches`` leaves parts out, which gives the paper's two ablations as methods of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Proposals, Reference, Window
from dvcp.methods.networks import BackboneNetworks, check_feedback
from dvcp.nets.fusion import FusionNet
from dvcp.nets.weights import PAPER, load_local, load_part
from dvcp.ops.codes import to_codes
from dvcp.ops.match import ReferenceCells, coarse_match, fine_match, reference_cells
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
        feedback: of :meth:`DeepPropagation.propose` only: which colours go on into the next frame, "fused" ones as in :meth:`propagate`, or
            "local" ones, as before there is an F_f.
        backbone: of the global branch.
        working_height: most lines of luma the networks see; bigger films are worked on at this height, and colour comes back along edges.
        device: "auto" is CUDA when there is one, else the CPU.
    """

    branches: Branches = "paper"
    weights: str = PAPER
    feedback: Literal["fused", "local"] = "fused"
    backbone: str = "efficientnet-lite0"
    working_height: int = 576
    device: str = "auto"

    def __post_init__(self) -> None:
        check_feedback(self.feedback)


@dataclass(frozen=True, eq=False)
class Anchor:
    """A reference's features and picture, on the CPU: it travels to every matcher."""

    cells: ReferenceCells
    planes: Tensor


@dataclass(frozen=True, eq=False)
class _Step:
    """One frame: what goes on into the next (Y', Cb, Cr, confidence; ``[1, 4, h, w]``) and I^w ``[1, 3, h, w]``."""

    last: Tensor
    warped: Tensor


class DeepPropagation(BackboneNetworks):
    """The method, as a :class:`dvcp.methods.base.Fusing`."""

    revision = 1

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings

    @property
    def needs(self) -> tuple[str, ...]:
        if self.settings.branches == "paper-global":
            return ()
        fused = self.settings.branches == "paper" and self.settings.feedback == "fused"
        return ("local", "fusion") if fused else ("local",)

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            weights = self.settings.weights
            net: Any = load_local(weights) if part == "local" else load_part(weights, "fusion", FusionNet())
            # torch does not annotate memory_format
            self._loaded[part] = net.to(self.device, self.dtype, memory_format=torch.channels_last)
        return self._loaded[part]

    @torch.inference_mode()
    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Anchor | None:
        """Features and picture of the first reference (the paper has one); None for the local branch, which matches nothing."""
        reference = references[0]
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

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        grid = self._grid(reference.luma.shape, colour)
        half, _ = grid.luma(reference.luma[None], torch.device("cpu"))
        sure = torch.ones_like(half[0])
        return {"planes": torch.cat([half[0], grid.chroma(reference.chroma, torch.device("cpu")), sure]).numpy()}

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window. The state is I_{k-1} and its confidence on the working grid: float32 ``[4, h, w]``, Y', Cb, Cr, confidence."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, _ = grid.luma(window.luma, self.device)
        matched, sure = (None, None) if evidence.planes is None else self._matched(evidence)
        if self.settings.branches == "paper-global":
            assert matched is not None and sure is not None
            return {}, self._chroma(matched[:, 1:], sure, luma, window, grid)
        steps = list(self._steps(state, luma, matched, sure, fused=self.settings.branches == "paper"))
        last = torch.cat([s.last for s in steps])
        return {"planes": last[-1].cpu().numpy()}, self._chroma(last[:, 1:3], last[:, 3:], luma, window, grid)

    @torch.inference_mode()
    def propose(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Proposals]:
        """The inputs of F_f: "gray" (G_k), "warped" (I^w), "matched" (I^s); and "sure", the similarity of the match."""
        luma, _ = self._grid(window.luma.shape, window.colour).luma(window.luma, self.device)
        matched, sure = self._matched(evidence)
        steps = list(self._steps(state, luma, matched, sure, fused=self.settings.feedback == "fused"))
        planes = {"gray": luma, "warped": torch.cat([s.warped for s in steps]), "matched": matched, "sure": sure}
        return {"planes": steps[-1].last[0].cpu().numpy()}, {name: to_codes(p) for name, p in planes.items()}

    def _steps(self, state: State | None, luma: Tensor, matched: Tensor | None, sure: Tensor | None, *, fused: bool) -> Iterator[_Step]:
        last = self._first(state, matched, sure, luma)
        for k in range(len(luma)):
            frame = luma[k : k + 1]
            # One frame at a time: a batch of logits (42 MB a 480p frame) is no faster and would decide the memory of the whole actor.
            kernels = self._net("local")(last[:, :1].to(self.dtype), frame.to(self.dtype))
            warped = sepwarp(last, *kernels)
            trust = warped[:, 3:] * torch.exp(-_WARP_TRUST * (warped[:, :1] - frame).abs())
            chroma = warped[:, 1:3]
            if fused:
                assert matched is not None and sure is not None
                chroma = self._net("fusion")(frame, warped[:, :3], matched[k : k + 1])
                trust = torch.maximum(trust, sure[k : k + 1] * 0.5)
            last = torch.cat([frame, chroma.clamp(-0.5, 0.5), trust.clamp(0, 1)], 1)
            yield _Step(last, warped[:, :3])

    def _first(self, state: State | None, matched: Tensor | None, sure: Tensor | None, luma: Tensor) -> Tensor:
        """I_{k-1} of the window's first frame. Without a painted frame in the shot, its own match stands in for it."""
        if state is not None:
            return torch.from_numpy(np.array(state["planes"])).to(self.device)[None]
        assert matched is not None and sure is not None, "a reference from outside the shot needs a match"
        return torch.cat([luma[:1], matched[:1, 1:], sure[:1] * 0.5], 1)
