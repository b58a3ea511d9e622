"""What a method must beat: no colour, the reference's colour left in place, and colour moved by optical flow."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.errors import ConfigError
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec

State = dict[str, NDArray[Any]]
#: least side of a picture the flow search is given: below it OpenCV raises, or reads outside its buffers and kills the process
_SEARCHED = 16


class _Baseline:
    """No anchor, nothing matched; the state is the reference's chroma."""

    name = ""
    window = WindowSpec(8)

    def digest(self) -> str:
        return hashlib.sha256(f"baseline {self.name} 1".encode()).hexdigest()

    def anchor(self, reference: Reference, colour: ColourSpec) -> NDArray[np.float32]:
        return reference.chroma

    def match(self, window: Window, anchor: NDArray[np.float32]) -> Evidence:
        return Evidence(planes=anchor[None].astype(np.float16))

    def start(self, reference: Reference, colour: ColourSpec) -> State | None:
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
    """Colour moved frame by frame along dense inverse search optical flow (Kroeger et al. 2016, OpenCV, preset medium)."""

    name = "flow"

    def __init__(self) -> None:
        try:
            import cv2
        except ImportError as error:
            raise ConfigError("the flow method needs OpenCV", hint="pip install 'dvcp[flow]'") from error
        self._cv2: Any = cv2  # its annotations leave out that a start for the flow search is optional

    def start(self, reference: Reference, colour: ColourSpec) -> State | None:
        return {"chroma": reference.chroma, "gray": self._gray(reference.luma, colour)}

    def _gray(self, luma: NDArray[Any], colour: ColourSpec) -> NDArray[np.uint8]:
        rows, columns = colour.chroma_shape(*luma.shape)
        small = self._cv2.resize(luma_to_unit(luma, colour), (columns, rows), interpolation=self._cv2.INTER_AREA)
        return np.asarray(np.clip(np.rint(small * 255), 0, 255), np.uint8)

    def _flow(self, gray: NDArray[np.uint8], last: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Where each pixel of ``gray`` was in ``last``, ``[h, w, 2]``, x and y steps."""
        rows, columns = gray.shape
        pad = ((0, max(0, _SEARCHED - rows)), (0, max(0, _SEARCHED - columns)))
        # A fresh searcher a frame: one kept carries its buffers, and the output would depend on what was coloured before.
        search = self._cv2.DISOpticalFlow.create(self._cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        flow = search.calc(np.pad(gray, pad, mode="edge"), np.pad(last, pad, mode="edge"), None)
        return np.asarray(flow[:rows, :columns], np.float32)

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        assert evidence.planes is not None
        grays = [self._gray(frame, window.colour) for frame in window.luma]
        if state is None:
            state = {"chroma": evidence.planes[0].astype(np.float32), "gray": grays[0]}
        last, chroma, done = state["gray"], state["chroma"], []
        y, x = np.mgrid[: last.shape[0], : last.shape[1]].astype(np.float32)
        for gray in grays:
            flow = self._flow(gray, last)
            where = (x + flow[..., 0], y + flow[..., 1])
            moved = [self._cv2.remap(c, *where, self._cv2.INTER_LINEAR, None, self._cv2.BORDER_REPLICATE) for c in chroma]
            last, chroma = gray, np.stack(moved)
            done.append(chroma)
        return {"chroma": chroma, "gray": last}, Chroma(np.stack(done), np.full((len(done), *last.shape), 128, np.uint8))
