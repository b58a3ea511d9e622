"""A SIMULATION of an accelerator, for measuring the machinery around it where there is none: networks that sleep and paint nothing new."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec


class Simulated:
    """Sleeps for as long as a device would compute, and leaves the reference's colour where it was painted.

    Named ``dvcp.methods.simulated:Simulated``: nobody who asks for a method by its short name can get it.
    """

    name = "simulated"
    window = WindowSpec(8)
    automatic = False
    borrows = True

    def __init__(self, match_ms: int = 100, propagate_ms: int = 400) -> None:
        """
        Args:
            match_ms, propagate_ms: milliseconds asleep for one window of 8 frames.
        """
        self._match_ms, self._propagate_ms = match_ms, propagate_ms

    def digest(self) -> str:
        return hashlib.sha256(f"simulated {self._match_ms} {self._propagate_ms}".encode()).hexdigest()

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> NDArray[np.float32]:
        return references[0].chroma

    def match(self, window: Window, anchor: NDArray[np.float32]) -> Evidence:
        time.sleep(self._match_ms / 1000)
        return Evidence(planes=np.repeat(anchor[None], len(window.frames), 0).astype(np.float16))

    def start(self, reference: Reference, colour: ColourSpec) -> dict[str, NDArray[Any]]:
        return {"chroma": reference.chroma}

    def propagate(
        self, state: dict[str, NDArray[Any]] | None, window: Window, evidence: Evidence
    ) -> tuple[dict[str, NDArray[Any]], Chroma]:
        time.sleep(self._propagate_ms / 1000)
        assert evidence.planes is not None
        planes = evidence.planes.astype(np.float32)
        return {"chroma": planes[-1]}, Chroma(planes, np.full((len(planes), *planes.shape[2:]), 255, np.uint8))
