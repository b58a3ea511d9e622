"""The default method: Deep Video Color Propagation's three parts (Meyer et al. 2018), each in the form that measured best.

I^w_k comes along optical flow instead of predicted kernels, and with it the place of every pixel in the reference (:mod:`.carry`); I^s_k
is a soft match on trained descriptors instead of a hard one on ImageNet features; the fusion chooses among them. Y' = G_k always. The
paper's own form is :mod:`.paper`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Proposals, Reference, Window
from dvcp.methods.carry import Carried, State, Track
from dvcp.methods.grid import WorkingGrid
from dvcp.methods.networks import Networks, check_feedback
from dvcp.nets.choice import ChoiceNet
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.weights import DEFAULT, load_part
from dvcp.ops.codes import to_codes
from dvcp.ops.softmatch import Keys, doubled, joined, keys_of, soft_match

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
class _Matched:
    """Evidence on the working grid: I^s ``[T, 3, h, w]`` and its cues ``[T, 4, h, w]``, sureness first."""

    planes: Tensor
    cues: Tensor


@dataclass(frozen=True, eq=False)
class _Step:
    """One frame: the state after it, what was carried into it, its chroma ``[1, 2, h, w]`` and confidence ``[1, 1, h, w]``."""

    track: Track
    carried: Carried
    chroma: Tensor
    confidence: Tensor


class GuidedPropagation(Networks):
    """The method, as a :class:`dvcp.methods.base.Fusing`."""

    revision = 3

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.settings = settings

    @property
    def needs(self) -> tuple[str, ...]:
        fused = self.settings.branches == "dvcp" and self.settings.feedback == "fused"
        return ("descriptor", "choice") if fused else ("descriptor",)

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            net: Any = load_part(self.settings.weights, part, ChoiceNet() if part == "choice" else DescriptorNet())
            dtype = self.dtype if part == "choice" else torch.float32
            self._loaded[part] = net.to(self.device, dtype, memory_format=torch.channels_last)
        return self._loaded[part]

    def _keys(self, padded: Tensor, colours: Tensor | None = None) -> Keys:
        found = self._net("descriptor")(self._backbone(padded))
        return keys_of(found.coarse[0], found.fine[0], colours)

    @torch.inference_mode()
    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Keys | None:
        """Descriptors and colours of references, on the CPU; None for the local branch, which matches nothing."""
        if self.settings.branches == "local" and references[0].in_shot:
            return None
        return joined([self._reference_keys(reference, colour) for reference in references]).to(torch.device("cpu"))

    def _reference_keys(self, reference: Reference, colour: ColourSpec) -> Keys:
        grid = self._grid(reference.luma.shape, colour)
        half, padded = grid.luma(reference.luma[None], self.device)
        planes = torch.cat([half, grid.chroma(reference.chroma, self.device)[None]], 1)
        height, width = padded.shape[-2] // 2, padded.shape[-1] // 2
        planes = F.pad(planes, (0, width - grid.width, 0, height - grid.height), mode="replicate")
        return self._keys(padded, planes[0])

    @torch.inference_mode()
    def match(self, window: Window, anchor: Keys | None) -> Evidence:
        """I^s at half the working grid, the cues of the match behind its three planes.

        Frame by frame, so that memory does not grow with the window.
        """
        if anchor is None:
            return Evidence()
        grid = self._grid(window.luma.shape, window.colour)
        reference, sharpness = anchor.to(self.device), self._net("descriptor").decides()
        planes, confidence = [], []
        for frame in window.luma:
            found = soft_match(self._keys(grid.luma(frame[None], self.device)[1]), reference, sharpness)
            planes.append(torch.cat([found.colours, found.cues[1:]]).to(torch.float16))
            confidence.append((found.cues[0] * 255).round().to(torch.uint8))
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
        matched = self._enlarged(evidence, grid)
        if self.settings.branches == "global":
            assert matched is not None
            return {}, self._chroma(matched.planes[:, 1:], matched.cues[:, :1], luma, window, grid)
        steps = list(self._steps(state, luma, _gray(padded, grid), matched, fused=self.settings.branches == "dvcp"))
        chroma, sure = torch.cat([s.chroma for s in steps]), torch.cat([s.confidence for s in steps])
        return steps[-1].track.state(), self._chroma(chroma, sure, luma, window, grid)

    @torch.inference_mode()
    def propose(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Proposals]:
        """The inputs of the fusion: "warped", "anchored" and "matched" colours, how far to trust each ("trust", "seen", CUES), "gray"."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, padded = grid.luma(window.luma, self.device)
        fused = self.settings.feedback == "fused"
        steps = list(self._steps(state, luma, _gray(padded, grid), self._enlarged(evidence, grid), fused=fused))
        carried = {name: torch.stack([getattr(s.carried, name) for s in steps]) for name in ("warped", "anchored", "trust", "seen")}
        matched, sure = self._matched(evidence)
        cues = dict(zip(CUES, torch.cat([sure, matched[:, 3:]], 1).split(1, 1), strict=True))
        planes = {"gray": luma, **carried, "matched": matched[:, :3], **cues}
        return steps[-1].track.state(), {name: to_codes(p) for name, p in planes.items()}

    def _steps(
        self, state: State | None, luma: Tensor, grays: NDArray[np.uint8], matched: _Matched | None, *, fused: bool
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

    def _enlarged(self, evidence: Evidence, grid: WorkingGrid) -> _Matched | None:
        if evidence.planes is None:
            return None
        matched, sure = self._matched(evidence)
        planes = doubled(torch.cat([matched, sure], 1), grid.height, grid.width)
        return _Matched(planes[:, :3], torch.cat([planes[:, 6:], planes[:, 3:6]], 1))


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
