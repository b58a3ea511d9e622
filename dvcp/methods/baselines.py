"""What a method must beat: no colour, the reference's colour left in place, and colour moved by optical flow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec
from dvcp.ops.flow import dense_flow, sample, standing

State = dict[str, NDArray[Any]]


class _Baseline:
    """No anchor, nothing matched; the state is the first reference's chroma."""

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


class Gray(_Baseline):
    """No colour at all."""

    name = "gray"

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        shape = (len(window.frames), *window.colour.chroma_shape(*window.luma.shape[1:]))
        planes = np.zeros((shape[0], 2, *shape[1:]), np.float32)
        return {"chroma": planes[-1]}, Chroma(planes, np.full(shape, 255, np.uint8))


class Copy(_Baseline):
    """The reference's colour, where it was painted, in every frame."""

    name = "copy"

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        assert evidence.planes is not None
        chroma = state["chroma"] if state is not None else evidence.planes[0].astype(np.float32)
        planes = np.repeat(chroma[None], len(window.frames), axis=0)
        return {"chroma": chroma}, Chroma(planes, np.full((len(planes), *chroma.shape[1:]), 128, np.uint8))


class Flow(_Baseline):
    """Colour moved frame by frame along dense inverse search optical flow, on the chroma grid."""

    name = "flow"
    revision = 2

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        return {"chroma": reference.chroma, "gray": _gray(reference.luma, colour)}

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        assert evidence.planes is not None
        grays = [_gray(frame, window.colour) for frame in window.luma]
        if state is None:
            state = {"chroma": evidence.planes[0].astype(np.float32), "gray": grays[0]}
        last, chroma, done = state["gray"], torch.tensor(state["chroma"]), []
        for gray in grays:
            moved = standing(*gray.shape) + torch.from_numpy(dense_flow(gray, last)).permute(2, 0, 1)
            last, chroma = gray, sample(chroma, moved)
            done.append(chroma)
        planes = torch.stack(done).numpy()
        return {"chroma": planes[-1], "gray": last}, Chroma(planes, np.full((len(done), *last.shape), 128, np.uint8))


def _gray(luma: NDArray[Any], colour: ColourSpec) -> NDArray[np.uint8]:
    rows, columns = colour.chroma_shape(*luma.shape)
    small = F.interpolate(torch.from_numpy(luma_to_unit(luma, colour))[None, None], size=(rows, columns), mode="area")[0, 0]
    return (small * 255).round().clamp(0, 255).to(torch.uint8).numpy()
