"""Temporally Consistent Video Colorization (Liu et al. 2021): G colours anchors, deep features travel between them, both ways.

A window is one interval, or a few whole ones: its last frame is an anchor, whose features are the state that the next window begins with.
So windows of a shot hang together by one feature map, and no interval crosses a cut. With painted frames see :mod:`.painted`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dvcp.colour import ColourSpec
from dvcp.methods import painted
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.colorizer import GUESS
from dvcp.methods.generating import Generating, half, whole
from dvcp.nets.generator import light_of, on_grid
from dvcp.nets.interval import behind, between, leaning
from dvcp.ops.flow import resized, visible

State = dict[str, NDArray[Any]]


class TemporallyConsistent(Generating):
    """The method. Its state after a window: features and luma of the last anchor, or what :mod:`.painted` carries."""

    revision = 1

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> bool:
        """Whether there is a painted frame: then it rules the shot, and G sets no anchors of its own."""
        return bool(references)

    @torch.inference_mode()
    def match(self, window: Window, anchor: bool) -> Evidence:
        """Motion between the window's frames, both ways, and G's features of its anchors."""
        seen, _ = self.seen(window.luma, window.colour)
        full = painted.grid_of(self, window.luma, window.colour).full(window.luma, self.device) if anchor else seen
        # painted colours are carried on half this size, features on a grid of their own
        stride = 2 if anchor else self.generator.stride
        height, width = -(-full.shape[-2] // stride), -(-full.shape[-1] // stride)
        arrays = {
            "to_next": half(resized(self.search(full[:-1], full[1:]), height, width)),
            "to_last": half(resized(self.search(full[1:], full[:-1]), height, width)),
        } if len(full) > 1 else {}  # fmt: skip
        if not anchor:
            anchors = [half(self.generator.features(seen[mark : mark + 1])) for mark in self._marks(len(seen))]
            arrays["features"] = np.concatenate(anchors)
        return Evidence(arrays=arrays)

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window; one without a state begins at the first frame of a shot that nobody painted."""
        if state is not None and "painting" in state:
            return painted.follow(self, state, window, evidence)
        seen, grid = self.seen(window.luma, window.colour)
        anchors = dict(zip(self._marks(len(seen)), whole(evidence.arrays["features"], self.device).split(1), strict=True))
        to_next, to_last = self.motion(evidence, anchors[len(seen) - 1])
        lead = int(state is not None)
        if state is None:
            first, frames = anchors[0] if 0 in anchors else self.generator.features(seen[:1]), seen
        else:
            first, last = whole(state["features"], self.device), whole(state["luma"], self.device)
            frames = torch.cat([last, seen])
            size = first.shape[-2:]
            to_next = torch.cat([resized(self.search(last, seen[:1]), *size), to_next])
            to_last = torch.cat([resized(self.search(seen[:1], last), *size), to_last])
        light = light_of(frames, first)
        total: Tensor | None = None
        for gap in self.gaps:
            ends = [mark + lead for mark in marks_of(len(seen), gap) if mark + lead > 0]
            features = islice(self._between(first, {end: anchors[end - lead] for end in ends}, light, to_next, to_last), lead, None)
            made = torch.cat([self.generator.colours(f, s[None], window.colour.matrix) for f, s in zip(features, seen, strict=True)])
            # TCVC+ is an average of chroma, once, and not of pictures.
            total = made if total is None else total + made
        assert total is not None
        chroma = total / len(self.gaps)
        planes = grid.restore(chroma, on_grid(seen, chroma), window.luma).cpu().numpy()
        sure = self._sureness(to_next, to_last, len(frames), first)[lead:]
        left = {"features": anchors[len(seen) - 1].cpu().numpy(), "luma": seen[-1:].cpu().numpy()}
        return left, Chroma(planes, grid.restore_confidence(sure).cpu().numpy())

    @torch.inference_mode()
    def behind(self, state: State, window: Window, evidence: Evidence) -> State:
        """The state of the backward leg behind a window between two painted frames."""
        return painted.retreat(self, state, window, evidence)

    @torch.inference_mode()
    def join(self, state: State, window: Window, evidence: Evidence, behind: State) -> tuple[State, Chroma]:
        """Colour a window between two painted frames, from both."""
        return painted.join(self, state, window, evidence, behind)

    @torch.inference_mode()
    def start(self, reference: Reference, colour: ColourSpec) -> State:
        return painted.start(self, reference, colour)

    def _marks(self, count: int) -> list[int]:
        """Anchors of a window of ``count`` frames, of all members of the ensemble."""
        return sorted({mark for gap in self.gaps for mark in marks_of(count, gap)})

    def motion(self, evidence: Evidence, like: Tensor) -> tuple[Tensor, Tensor]:
        """Motion between the frames of a window on the grid of ``like``: to the next of each, to the last of each."""
        if "to_next" not in evidence.arrays:
            none = like.new_zeros(0, 2, *like.shape[-2:])
            return none, none
        to_next, to_last = (resized(whole(evidence.arrays[name], self.device), *like.shape[-2:]) for name in ("to_next", "to_last"))
        return to_next, to_last

    def _between(self, first: Tensor, ends: dict[int, Tensor], light: Tensor, to_next: Tensor, to_last: Tensor) -> Iterator[Tensor]:
        """Features of every frame: anchors at 0 and at ``ends``, the others carried between them."""
        at, features, lumas = 0, first, self.fusion.luma_features(light)
        yield first
        for end, last in ends.items():
            back = behind(last, to_next[at + 1 : end])
            if end > at + 1:
                prior = leaning(light[at : end + 1], to_next[at:end], to_last[at:end])
                for inner, _ in between(self.fusion, features, lumas[at : end + 1], back, to_last[at : end - 1], prior):
                    yield inner
            yield last
            at, features = end, last

    def _sureness(self, to_next: Tensor, to_last: Tensor, count: int, like: Tensor) -> Tensor:
        """How sure guesses are ``[T, 1, h, w]``: less where what is seen was not there in the frame before."""
        sure = torch.full((count, 1, *like.shape[-2:]), GUESS, device=self.device)
        if len(to_last):
            sure[1:] = torch.where(visible(to_last, to_next), GUESS, GUESS / 2)
        return sure


def marks_of(count: int, gap: int) -> list[int]:
    """Anchors of a window of ``count`` frames: every ``gap``-th, and the last, where a shot ends."""
    return [*range(gap - 1, count - 1, gap), count - 1]
