"""TCVC from painted frames: they are the anchors, and the shot is theirs.

G's features of a painted frame travel as those of any anchor do. What the painting has that G_C does not make of them travels beside
them, as the place that every pixel has in the painting: so the painted frame is met exactly, and its colours are sampled once, however far
they go. Between two painted frames both come from both sides, and W, the fusion's choice between these, is led by how near and how alike
each is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.generating import enlarged, whole
from dvcp.methods.grid import WorkingGrid
from dvcp.nets.generator import light_of
from dvcp.nets.interval import ahead, behind, between, odds, trust
from dvcp.ops.flow import resized, sample, standing

if TYPE_CHECKING:
    from dvcp.methods.tcvc import TemporallyConsistent

State = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Side:
    """A painted frame as seen from another.

    Attributes:
        features: ``[1, C, h, w]``, G's, brought here.
        place: ``[2, H, W]``, x and y of every pixel in the painting, on the working grid.
        painting: ``[3, H, W]``, Y', and the chroma that G_C does not make of its features.
        full: Y' of this frame at twice the working grid ``[1, 1, 2H, 2W]``, for the flow search.
        seen: Y' of this frame as the generator sees it.
        steps: frames from the painting.
    """

    features: Tensor
    place: Tensor
    painting: Tensor
    full: Tensor
    seen: Tensor
    steps: int

    @classmethod
    def of(cls, state: State, device: torch.device) -> Side:
        """Out of a stored state."""
        tensors = {k: whole(state[k], device) for k in ("features", "place", "painting", "full", "seen")}
        return cls(steps=int(state["steps"][0]), **tensors)

    def state(self) -> State:
        """To be stored."""
        tensors = {k: getattr(self, k).cpu().numpy() for k in ("features", "place", "painting", "full", "seen")}
        return tensors | {"steps": np.array([self.steps])}

    def carried(self, flows: Tensor) -> tuple[Tensor, Tensor]:
        """Frame by frame along ``flows`` ``[T, 2, H, W]``, where each pixel lies in the frame before it on this way: what of the painting
        is there ``[T, 3, H, W]``, and the last frame's place."""
        place, found = self.place, []
        still = standing(place.shape[-2], place.shape[-1], place.device)
        for flow in flows:
            place = sample(place, still + flow)
            found.append(sample(self.painting, place))
        return torch.stack(found), place


def grid_of(method: TemporallyConsistent, samples: NDArray[Any], colour: ColourSpec) -> WorkingGrid:
    """The grid on which painted colours are carried: half the film's, or of the working height."""
    return WorkingGrid.of(samples.shape[-2], samples.shape[-1], colour, method.working_height)


def start(method: TemporallyConsistent, reference: Reference, colour: ColourSpec) -> State:
    """The state at a painted frame."""
    grid, device = grid_of(method, reference.luma, colour), method.device
    full = grid.full(reference.luma[None], device)
    luma = F.avg_pool2d(full, 2)
    seen, _ = method.seen(reference.luma[None], colour)
    features = method.generator.features(seen)
    made = enlarged(method.generator.colours(features, seen, colour.matrix), seen, luma)
    painting = torch.cat([luma[0], grid.chroma(reference.chroma, device) - made[0]])
    return Side(features, standing(grid.height, grid.width, device), painting, full, seen, 0).state()


@dataclass(frozen=True, eq=False)
class Frames:
    """A window as the two functions below see it.

    Attributes:
        grid: the working grid.
        full: Y' at twice the working grid ``[T, 1, 2H, 2W]``.
        luma: Y' on the working grid.
        seen: Y' as the generator sees it.
        to_next, to_last: motion between frames, in window order, on the working grid ``[T - 1, 2, H, W]``.
    """

    grid: WorkingGrid
    full: Tensor
    luma: Tensor
    seen: Tensor
    to_next: Tensor
    to_last: Tensor

    @classmethod
    def of(cls, method: TemporallyConsistent, window: Window, evidence: Evidence) -> Frames:
        grid = grid_of(method, window.luma, window.colour)
        full, (seen, _) = grid.full(window.luma, method.device), method.seen(window.luma, window.colour)
        luma = F.avg_pool2d(full, 2)
        return cls(grid, full, luma, seen, *method.motion(evidence, luma))

    def from_side(self, method: TemporallyConsistent, side: Side) -> Tensor:
        """Motion of every frame into the one before it on the way from ``side``, ``[T, 2, H, W]``."""
        return torch.cat([_searched(method, self.full[:1], side.full, self.luma), self.to_last])

    def colours(self, method: TemporallyConsistent, features: Sequence[Tensor], window: Window) -> Tensor:
        """What G_C makes of features, on the working grid ``[T, 2, H, W]``."""
        made = []
        for each, seen, luma in zip(features, self.seen.split(1), self.luma.split(1), strict=True):
            made.append(enlarged(method.generator.colours(each, seen, window.colour.matrix), seen, luma))
        return torch.cat(made)

    def given(self, chroma: Tensor, sure: Tensor, window: Window) -> Chroma:
        """Chroma and how sure it is, on the film's grid."""
        planes = self.grid.restore(chroma.clamp(-0.5, 0.5), self.luma, window.luma)
        return Chroma(planes.cpu().numpy(), self.grid.restore_confidence(sure).cpu().numpy())


def follow(method: TemporallyConsistent, state: State, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
    """Colour a window from a painted frame on one side alone: there is nothing to fuse, and motion decides."""
    side, frames = Side.of(state, method.device), Frames.of(method, window, evidence)
    flows = frames.from_side(method, side)
    found, place = side.carried(flows)
    features = ahead(side.features, resized(flows, *side.features.shape[-2:]))
    made = frames.colours(method, features, window) + found[:, 1:]
    reached = Side(features[-1], place, side.painting, frames.full[-1:], frames.seen[-1:], side.steps + len(flows))
    return reached.state(), frames.given(made, _trust(found, frames.luma), window)


def retreat(method: TemporallyConsistent, state: State, window: Window, evidence: Evidence) -> State:
    """The backward leg across a window: F^b and the place in the later painting, and no colours."""
    side, frames = Side.of(state, method.device), Frames.of(method, window, evidence)
    flows = frames.from_side(method, side)
    features = ahead(side.features, resized(flows, *side.features.shape[-2:]))[-1]
    return Side(features, side.carried(flows)[1], side.painting, frames.full[-1:], frames.seen[-1:], side.steps + len(flows)).state()


def join(method: TemporallyConsistent, state: State, window: Window, evidence: Evidence, after: State) -> tuple[State, Chroma]:
    """Colour a window between two painted frames: the backward pass from the later, then the forward pass and the fusion."""
    before, later, frames = Side.of(state, method.device), Side.of(after, method.device), Frames.of(method, window, evidence)
    size, count = before.features.shape[-2:], len(frames.full)
    to_last = frames.from_side(method, before)
    to_next = torch.cat([frames.to_next, _searched(method, frames.full[-1:], later.full, frames.luma)])
    forth, place = before.carried(to_last)
    rear = later.carried(to_next.flip(0))[0].flip(0)
    sure_forth, sure_rear = _trust(forth, frames.luma), _trust(rear, frames.luma)
    steps = torch.arange(1, count + 1, device=method.device)[:, None, None, None]
    prior = odds(before.steps + steps, later.steps + count + 1 - steps, sure_forth, sure_rear)
    lights = torch.cat([light_of(x, before.features) for x in (before.seen, frames.seen, later.seen)])
    back = behind(later.features, resized(to_next, *size))
    leaning = F.interpolate(prior, size=size, mode="area")
    fused = list(between(method.fusion, before.features, method.fusion.luma_features(lights), back, resized(to_last, *size), leaning))
    weight = F.interpolate(torch.cat([w for _, w in fused]), size=prior.shape[-2:], mode="bilinear", align_corners=False)
    made = frames.colours(method, [f for f, _ in fused], window) + weight * forth[:, 1:] + (1 - weight) * rear[:, 1:]
    reached = Side(fused[-1][0], place, before.painting, frames.full[-1:], frames.seen[-1:], before.steps + count)
    return reached.state(), frames.given(made, torch.maximum(sure_forth, sure_rear), window)


def _searched(method: TemporallyConsistent, here: Tensor, there: Tensor, like: Tensor) -> Tensor:
    """Motion between two frames at twice the grid of ``like``, on that grid ``[1, 2, H, W]``."""
    return resized(method.search(here, there), *like.shape[-2:])


def _trust(found: Tensor, luma: Tensor) -> Tensor:
    """How well the painting's luma explains the frame's: of ``[T, 3, H, W]`` and ``[T, 1, H, W]``."""
    return trust(found[:, :1], luma)
