"""The default method: Deep Video Color Propagation's three parts (Meyer et al. 2018), each in the form that measured best.

I^w_k comes along optical flow instead of predicted kernels, and with it the place of every pixel in the reference (:mod:`.carry`); I^s_k
is a soft match on trained descriptors instead of a hard one on ImageNet features; the fusion chooses among them. Y' = G_k always. The
paper's own form is :mod:`.paper`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Proposals, Reference, Window
from dvcp.methods.carry import Carried, State, Track
from dvcp.methods.matching import Matched, Matching
from dvcp.methods.networks import check_feedback
from dvcp.nets.choice import ChoiceNet
from dvcp.nets.weights import DEFAULT
from dvcp.ops.codes import to_codes
from dvcp.ops.softmatch import Keys

Branches = Literal["dvcp", "local", "global"]
#: how fast the local branch alone turns from one of its two proposals to the other with the luma each leaves unexplained
_TURN = 40.0
#: expected chroma error at which confidence has fallen to 1/e
_DOUBT = 0.04
#: trust in colours that were only matched
_MATCHED = 0.5
#: frames a reference from elsewhere counts as being away
_FAR = 100
#: names of the match's cues among the proposals
CUES = ("sure", "alike", "alike_near", "spread")


@dataclass(frozen=True)
class Settings:
    """What decides the picture.

    Attributes:
        branches: "dvcp" (both branches fused), "local" or "global".
        weights: safetensors file or URL with descriptors and fusion; "default" is what ships.
        feedback: of :meth:`GuidedPropagation.propose` only: which colours go on into the next frame, "fused" ones as in :meth:`propagate`,
            or "local" ones, as before there is a fusion.
        backbone: of the global branch.
        working_height: most lines of luma the networks see; bigger films are worked on at this height, and colour comes back along edges.
        device: "auto" is CUDA when there is one, else the CPU.
    """

    branches: Branches = "dvcp"
    weights: str = DEFAULT
    feedback: Literal["fused", "local"] = "fused"
    backbone: str = "efficientnet-lite0"
    working_height: int = 576
    device: str = "auto"

    def __post_init__(self) -> None:
        check_feedback(self.feedback)


@dataclass(frozen=True, eq=False)
class _Step:
    """One frame: the state after it, what was carried into it, its chroma ``[1, 2, h, w]`` and confidence ``[1, 1, h, w]``."""

    track: Track
    carried: Carried
    chroma: Tensor
    confidence: Tensor


class GuidedPropagation(Matching):
    """The method, as a :class:`dvcp.methods.base.Fusing`."""

    revision = 3

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings

    @property
    def needs(self) -> tuple[str, ...]:
        fused = self.settings.branches == "dvcp" and self.settings.feedback == "fused"
        return ("descriptor", "choice") if fused else ("descriptor",)

    def _decider(self) -> ChoiceNet:
        return ChoiceNet()

    @torch.inference_mode()
    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Keys | None:
        """Descriptors and colours of references, on the CPU; None for the local branch, which matches nothing."""
        if self.settings.branches == "local" and references[0].in_shot:
            return None
        return super().anchor(references, colour)

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        grid, cpu = self._grid(reference.luma.shape, colour), torch.device("cpu")
        half, padded = grid.luma(reference.luma[None], cpu)
        return Track.begin(torch.cat([half[0], grid.chroma(reference.chroma, cpu)]), grid.gray(padded)[0]).state()

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window. The state is a :class:`Track`; a window without one begins at its own match."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, padded = grid.luma(window.luma, self.device)
        matched = self._enlarged(evidence, grid)
        if self.settings.branches == "global":
            assert matched is not None
            return {}, self._chroma(matched.planes[:, 1:], matched.cues[:, :1], luma, window, grid)
        steps = list(self._steps(state, luma, grid.gray(padded), matched, fused=self.settings.branches == "dvcp"))
        chroma, sure = torch.cat([s.chroma for s in steps]), torch.cat([s.confidence for s in steps])
        return steps[-1].track.state(), self._chroma(chroma, sure, luma, window, grid)

    @torch.inference_mode()
    def propose(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Proposals]:
        """The inputs of the fusion: "warped", "anchored" and "matched" colours, how far to trust each ("trust", "seen", CUES), "gray"."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, padded = grid.luma(window.luma, self.device)
        fused = self.settings.feedback == "fused"
        steps = list(self._steps(state, luma, grid.gray(padded), self._enlarged(evidence, grid), fused=fused))
        carried = {name: torch.stack([getattr(s.carried, name) for s in steps]) for name in ("warped", "anchored", "trust", "seen")}
        matched, sure = self._matched(evidence)
        cues = dict(zip(CUES, torch.cat([sure, matched[:, 3:]], 1).split(1, 1), strict=True))
        planes = {"gray": luma, **carried, "matched": matched[:, :3], **cues}
        return steps[-1].track.state(), {name: to_codes(p) for name, p in planes.items()}

    def _steps(
        self, state: State | None, luma: Tensor, grays: NDArray[np.uint8], matched: Matched | None, *, fused: bool
    ) -> Iterator[_Step]:
        if state is not None:
            track = Track.of(state, self.device)
        else:
            assert matched is not None, "a reference from outside the shot needs a match"
            track = Track.begin(torch.cat([luma[0], matched.planes[0, 1:]]), grays[0], _MATCHED, _FAR)
        for k, gray in enumerate(grays):
            frame, carried = luma[k : k + 1], track.step(gray)
            if fused:
                assert matched is not None
                proposals = (carried.warped[None], carried.anchored[None], matched.planes[k : k + 1])
                trusts = torch.cat([carried.trust[None], carried.seen[None], carried.age[None], matched.cues[k : k + 1]], 1)
                chroma, error = self._net("choice")(frame, proposals, trusts)
                confidence = torch.exp(-error / _DOUBT)
            else:
                chroma, confidence = _blended(frame, carried), carried.trust[None]
            chroma = chroma.clamp(-0.5, 0.5)
            track = track.follow(carried, torch.cat([luma[k], chroma[0]]), gray)
            yield _Step(track, carried, chroma, confidence)


def _blended(luma: Tensor, carried: Carried) -> Tensor:
    """The local branch alone: its two proposals by how far the luma of each explains the frame, in a neighbourhood."""
    proposals = torch.stack([carried.warped, carried.anchored])
    left = F.avg_pool2d(F.pad((proposals[:, :1] - luma).abs(), (3, 3, 3, 3), mode="replicate"), 7, 1)
    share = torch.sigmoid(_TURN * (left[1] - left[0]))
    return carried.anchored[None, 1:] + share * (carried.warped - carried.anchored)[None, 1:]
