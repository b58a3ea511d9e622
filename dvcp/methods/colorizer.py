"""G alone, frame by frame: the image colorizer that TCVC steadies, and what colours the key frames that nobody painted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Reference, Window, WindowSpec
from dvcp.methods.generating import Generating, Settings, half, whole
from dvcp.nets.generator import on_grid

State = dict[str, NDArray[Any]]
#: how sure a guess is, of 1: an archivist should look at all of them
GUESS = 0.25


class ImageColorizer(Generating):
    """The method. It has no state; painted frames keep their colours and give none to others."""

    revision = 1

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.window = WindowSpec(8)

    @property
    def needs(self) -> tuple[str, ...]:
        return ("colorizer",)

    def _weights(self) -> dict[str, str]:
        # It sees neither motion nor intervals.
        return super()._weights() | dict.fromkeys(("flow", "flow_weights", "anchor_gap", "working_height"), "")

    def load(self) -> None:
        # no flow and no fusion
        self._net("colorizer")

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> None:
        """Nothing: references are not looked at."""
        return None

    @torch.inference_mode()
    def match(self, window: Window, anchor: None) -> Evidence:
        """Colours of every frame, on the generator's own grid."""
        found = []
        for frame in window.luma:
            seen, _ = self.seen(frame[None], window.colour)
            found.append(half(self.generator.colours(self.generator.features(seen), seen, window.colour.matrix)))
        return Evidence(arrays={"chroma": np.concatenate(found)})

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Bring them to the film's grid."""
        seen, grid = self.seen(window.luma, window.colour)
        chroma = whole(evidence.arrays["chroma"], self.device)
        planes = grid.restore(chroma, on_grid(seen, chroma), window.luma).cpu().numpy()
        return {}, Chroma(planes, np.full(planes[:, 0].shape, round(255 * GUESS), np.uint8))

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        return {}
