"""Deep Exemplar-based Video Colorization (Zhang et al. 2019) on the bundled backbone: colour from a picture of another scene.

(W^ab, S) = N(x^l_t, y), here the shared match (:mod:`.matching`): parallel. x^ab_t = C(x^l_t, W^ab, S, last frame), here
:mod:`dvcp.nets.exemplar`: sequential. With a painted frame of the same shot as the reference it is a propagation method like any other
("mode one" of the paper). The authors' own networks are :mod:`.exemplar_paper`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dvcp.colour import ColourSpec
from dvcp.errors import ConfigError
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.matching import Matching
from dvcp.nets.exemplar import ColourNet, sureness
from dvcp.nets.weights import EXEMPLAR
from dvcp.ops.flow import half_flow, sample, standing

State = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Settings:
    """What decides the picture.

    Attributes:
        branches: "exemplar"; the name of the method.
        weights: safetensors file or URL with descriptors and colour network; "exemplar" is what ships.
        reference_features: whether the correspondence sees the reference in "gray", as it sees the film and was trained, or in "colour".
        temperature: divides the sharpness of the match; above 1 blends more places of the reference into each colour.
        saturation: factor of the colours taken from another scene, on the way out; it never enters the next frame. Where a match is unsure
            colours are averaged, and averages are pale; the authors' own videos have 1.25 too. A painted frame's colours stay as they are.
        backbone: of the correspondence.
        working_height: most lines of luma the networks see; bigger films are worked on at this height, and colour comes back along edges.
        device: "auto" is CUDA when there is one, else the CPU.
    """

    branches: Literal["exemplar"] = "exemplar"
    weights: str = EXEMPLAR
    reference_features: Literal["gray", "colour"] = "gray"
    temperature: float = 1.0
    saturation: float = 1.25
    backbone: str = "efficientnet-lite0"
    working_height: int = 576
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.reference_features not in ("gray", "colour"):
            raise ConfigError(f"reference features {self.reference_features!r}", hint="gray or colour")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ConfigError(f"temperature {self.temperature}", hint="give a number above 0; 1 is as trained")
        if not (self.saturation >= 0 and math.isfinite(self.saturation)):
            raise ConfigError(f"saturation {self.saturation}", hint="give 0 or more; 1 leaves colours as they were found")


class ExemplarColorization(Matching):
    """The method. Its state is the last frame on the working grid, with how sure its colours were, and its luma for the flow search."""

    revision = 1

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.in_colour = settings.reference_features == "colour"
        self.temperature = settings.temperature
        self._saturation = settings.saturation

    @property
    def needs(self) -> tuple[str, ...]:
        return ("descriptor", "colour")

    def _decider(self) -> ColourNet:
        return ColourNet()

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        grid, cpu = self._grid(reference.luma.shape, colour), torch.device("cpu")
        half, padded = grid.luma(reference.luma[None], cpu)
        planes = torch.cat([half[0], grid.chroma(reference.chroma, cpu), torch.ones_like(half[0])])
        return {"planes": planes.numpy(), "gray": grid.gray(padded)[0], "gain": np.array([1.0], np.float32)}

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window; one without a state begins from its match alone."""
        grid = self._grid(window.luma.shape, window.colour)
        luma, padded = grid.luma(window.luma, self.device)
        grays, matched = grid.gray(padded), self._enlarged(evidence, grid)
        assert matched is not None
        net, done = self._net("colour"), []
        # Only a shot coloured from elsewhere begins without a state.
        gain = np.array([self._saturation], np.float32) if state is None else state["gain"]
        last = None if state is None else torch.from_numpy(np.array(state["planes"])).to(self.device)
        gray = None if state is None else state["gray"]
        for k in range(len(luma)):
            frame, guess, cues = luma[k : k + 1], matched.planes[k : k + 1], matched.cues[k : k + 1]
            if last is None or gray is None:
                carried, sure = guess, torch.zeros_like(frame)
            else:
                moved = sample(last, self._place(grays[k], gray, frame))[None]
                carried, sure = moved[:, :3], moved[:, 3:]
            chroma, error = net(frame, guess, cues, carried, sure)
            last, gray = torch.cat([frame, chroma.clamp(-0.5, 0.5), sureness(error)], 1)[0], grays[k]
            done.append(last)
        assert last is not None and gray is not None
        planes = torch.stack(done)
        chroma = (planes[:, 1:3] * float(gain[0])).clamp(-0.5, 0.5)
        return {"planes": last.cpu().numpy(), "gray": gray, "gain": gain}, self._chroma(chroma, planes[:, 3:], luma, window, grid)

    def _place(self, gray: NDArray[np.uint8], last: NDArray[np.uint8], frame: Tensor) -> Tensor:
        """Where each pixel of the working grid was in the last frame."""
        height, width = frame.shape[-2:]
        return standing(height, width, self.device) + half_flow(gray, last, height, width).to(self.device)
