"""What a method must beat: colour moved by optical flow alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.baselines import Baseline, State
from dvcp.ops.flow import dense_flow, sample, standing


class Flow(Baseline):
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
