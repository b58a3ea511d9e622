"""What a method must beat: no colour, and the reference's colour left in place. Without torch, whose import takes longer than they do."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec

State = dict[str, NDArray[Any]]


class Baseline:
    """Base of them: no anchor, nothing matched; the state is the first reference's chroma."""

    name = ""
    #: raised with every change of the code that changes the picture
    revision = 1
    window = WindowSpec(8)
    automatic = False
    borrows = True

    def digest(self) -> str:
        return hashlib.sha256(f"baseline {self.name} {self.revision}".encode()).hexdigest()

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> NDArray[np.float32]:
        return references[0].chroma

    def match(self, window: Window, anchor: NDArray[np.float32]) -> Evidence:
        return Evidence(planes=anchor[None].astype(np.float16))

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        return {"chroma": reference.chroma}


class Gray(Baseline):
    """No colour at all."""

    name = "gray"

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        shape = (len(window.frames), *window.colour.chroma_shape(*window.luma.shape[1:]))
        planes = np.zeros((shape[0], 2, *shape[1:]), np.float32)
        return {"chroma": planes[-1]}, Chroma(planes, np.full(shape, 255, np.uint8))


class Copy(Baseline):
    """The reference's colour, where it was painted, in every frame."""

    name = "copy"

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        assert evidence.planes is not None
        chroma = state["chroma"] if state is not None else evidence.planes[0].astype(np.float32)
        planes = np.repeat(chroma[None], len(window.frames), axis=0)
        return {"chroma": chroma}, Chroma(planes, np.full((len(planes), *chroma.shape[1:]), 128, np.uint8))
