"""A method small enough to be followed by hand: it colours from nothing, from one painted frame, and between two from both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec

State = dict[str, NDArray[Any]]
_PRIME = 997


class Trail:
    """Its state is a number that depends on every frame it passed and on their order, and on what matching gave it; so is its colour.

    Attributes:
        calls: every step, as (name, frames, state, state behind), in the order made.
    """

    name = "trail"
    window = WindowSpec(4)
    automatic = True
    borrows = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...], int, int]] = []

    def digest(self) -> str:
        return "d" * 64

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> int:
        return sum(int(1000 * abs(r.chroma[0, 0, 0])) for r in references)

    def match(self, window: Window, anchor: int) -> Evidence:
        return Evidence(np.full((len(window.frames), 1, 1, 1), anchor, np.float16))

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        return {"n": np.array(int(reference.luma[0, 0]) % _PRIME)}

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        return self._cross("propagate", -1 if state is None else int(state["n"]), window, evidence, -1)

    def behind(self, state: State, window: Window, evidence: Evidence) -> State:
        return self._cross("behind", int(state["n"]), window, evidence, -1)[0]

    def join(self, state: State, window: Window, evidence: Evidence, behind: State) -> tuple[State, Chroma]:
        return self._cross("join", int(state["n"]), window, evidence, int(behind["n"]))

    def _cross(self, name: str, n: int, window: Window, evidence: Evidence, behind: int) -> tuple[State, Chroma]:
        assert evidence.planes is not None
        self.calls.append((name, window.frames, n, behind))
        values = []
        for k, luma in enumerate(window.luma):
            n = (31 * n + int(luma[0, 0]) + 7 * behind + int(evidence.planes[k, 0, 0, 0])) % _PRIME
            values.append(n / _PRIME - 0.5)
        shape = window.colour.chroma_shape(*window.luma.shape[1:])
        planes = np.broadcast_to(np.array(values, np.float32)[:, None, None, None], (len(values), 2, *shape)).copy()
        return {"n": np.array(n)}, Chroma(planes, np.full((len(values), *shape), 200, np.uint8))
