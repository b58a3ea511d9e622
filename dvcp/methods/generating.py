"""What the methods that guess colours have in common: the generator G, and the sizes at which pictures are seen and given back."""

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
from dvcp.methods.base import WindowSpec
from dvcp.methods.grid import WorkingGrid
from dvcp.methods.networks import Networks
from dvcp.nets import statefiles, tcvc_paper
from dvcp.nets.flow import check_flow, load_flow
from dvcp.nets.generator import Generator, on_grid
from dvcp.nets.generators import check_generator, generator_digest, load_generator
from dvcp.nets.tcvc import FeatureFusion
from dvcp.nets.weights import TCVC, load_fusion, weights_digest
from dvcp.ops.flow import FlowSearch
from dvcp.ops.guided import guided_upsample

#: most frames of a window; intervals of several lengths must fit into it evenly
_MOST = 72


@dataclass(frozen=True)
class Settings:
    """What decides the picture.

    Attributes:
        name: "colorizer": G on every frame by itself. "tcvc": G on anchors, features carried between. "tcvc+": the same with intervals of
            several lengths, averaged. "tcvc-paper": the authors' networks, all in one file.
        weights: of tcvc-paper the authors' ``80000_G.pth``; else a file with ``colorizer.*`` and ``tcvc.*``; "tcvc" is what ships.
        generator: "dvcp", ours; or the public "siggraph17" or "eccv16".
        generator_weights: checkpoint of a public generator.
        flow: "dis" or "flownet2"; tcvc-paper has its own.
        flow_weights: checkpoint of FlowNet2.
        anchor_gap: frames from anchor to anchor, the paper's N + 1; several for tcvc+, such as "12+18". 0: 18, and "12+18" for tcvc+.
        seen_height: lines of luma the generator sees at most; 0: 288 for ours, 256 for others, which were trained at that.
        working_height: most lines of luma on which painted colours are carried.
        device: "auto" is CUDA when there is one, else the CPU.
    """

    name: Literal["colorizer", "tcvc", "tcvc+", "tcvc-paper"]
    weights: str = TCVC
    generator: Literal["dvcp", "siggraph17", "eccv16"] = "dvcp"
    generator_weights: str | None = None
    flow: Literal["dis", "flownet2"] = "dis"
    flow_weights: str | None = None
    anchor_gap: int | str = 0
    seen_height: int = 0
    working_height: int = 576
    device: str = "auto"

    def __post_init__(self) -> None:
        for url in (self.weights, self.generator_weights or "", self.flow_weights or ""):
            if not isinstance(url, str):
                raise ConfigError(f"weights {url!r}", hint="a path or URL")
        others = (self.generator, self.generator_weights, self.flow, self.flow_weights)
        if self.name == "tcvc-paper" and others != ("dvcp", None, "dis", None):
            raise ConfigError("tcvc-paper has generator and flow in its one file", hint="leave them out, or use tcvc")
        check_generator(self.generator, self.generator_weights)
        check_flow(self.flow, self.flow_weights)
        for height, least in ((self.seen_height, 0), (self.working_height, 1)):
            if type(height) is not int or height < least:
                raise ConfigError(f"height {height!r}", hint="a whole number of lines")

    @property
    def gaps(self) -> tuple[int, ...]:
        """Frames from anchor to anchor of each member of the ensemble. Raises ConfigError."""
        told = self.anchor_gap or ("12+18" if self.name == "tcvc+" else "18")
        parts = str(told).split("+")
        if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            raise ConfigError(f"anchor gap {told!r}", hint='frames, such as 18, or several for tcvc+, such as "12+18"')
        gaps = tuple(sorted({int(part) for part in parts}))
        if self.name != "tcvc+" and len(gaps) > 1:
            raise ConfigError(f"{self.name} has one anchor gap", hint=f"--method tcvc+ for {told}")
        if math.lcm(*gaps) > _MOST:
            raise ConfigError(
                f"anchor gap {told}: these meet only every {math.lcm(*gaps)} frames", hint=f"they must meet within {_MOST}: 12+18, 16+24"
            )
        return gaps


class Generating(Networks):
    """Base. Networks: "colorizer" (G), "tcvc" (the fusion), "flow" (a search)."""

    automatic, borrows = True, False
    _settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.name, settings)
        self.gaps = settings.gaps
        self.window = WindowSpec(math.lcm(*self.gaps))
        self._paper = settings.name == "tcvc-paper"
        ours = settings.generator == "dvcp" and not self._paper
        self.working_height = settings.working_height
        self._seen_height = settings.seen_height or (288 if ours else 256)
        if self._paper and settings.weights == TCVC:
            raise ConfigError("tcvc-paper comes without weights", hint=f"--weights FILE: {tcvc_paper.TCVC_HINT}")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("colorizer", "tcvc")

    def load(self) -> None:
        super().load()
        self._net("flow")

    @property
    def weights_digest(self) -> str:
        if self._paper:
            return statefiles.digest(self._settings.weights, tcvc_paper.TCVC_HINT)
        return weights_digest(self._settings.weights)

    def _weights(self) -> dict[str, str]:
        settings, told = self._settings, []
        if settings.generator == "dvcp" and not self._paper:
            told.append(self._net("colorizer").backbone.trunk.weights_digest)
        if settings.generator_weights:
            told.append(generator_digest(settings.generator, settings.generator_weights))
        flow = statefiles.digest(settings.flow_weights, tcvc_paper.FLOWNET2_HINT) if settings.flow_weights else ""
        # What they are, never where they lie.
        return super()._weights() | {"generator_weights": " ".join(told), "flow_weights": flow}

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            self._load(part)
        return self._loaded[part]

    def _load(self, part: str) -> None:
        settings = self._settings
        if self._paper:
            generator, fusion, flow = tcvc_paper.load_tcvc(settings.weights)
            self._loaded |= {"colorizer": generator.to(self.device), "tcvc": fusion.to(self.device), "flow": flow.to(self.device).flow}
        elif part == "flow":
            self._loaded[part] = load_flow(settings.flow, settings.flow_weights, self.device)
        elif part == "tcvc":
            self._loaded[part] = load_fusion(settings.weights, self.generator.channels).to(self.device)
        else:
            self._loaded[part] = load_generator(settings.generator, settings.generator_weights or settings.weights).to(self.device)

    @property
    def generator(self) -> Generator:
        net: Generator = self._net("colorizer")
        return net

    @property
    def fusion(self) -> FeatureFusion:
        net: FeatureFusion = self._net("tcvc")
        return net

    @property
    def search(self) -> FlowSearch:
        search: FlowSearch = self._net("flow")
        return search

    def seen(self, samples: NDArray[Any], colour: ColourSpec) -> tuple[Tensor, WorkingGrid]:
        """Y' ``[T, 1, h, w]`` at the size the generator sees, and its grid, of half that size."""
        grid = WorkingGrid.of(samples.shape[-2], samples.shape[-1], colour, self._seen_height)
        return grid.full(samples, self.device), grid


def enlarged(chroma: Tensor, luma: Tensor, target: Tensor) -> Tensor:
    """Chroma of the generator ``[T, 2, h, w]``, led by Y' of any size, on the grid of Y' ``target`` ``[T, 1, H, W]``."""
    return guided_upsample(chroma, on_grid(luma, chroma), target)


def half(planes: Tensor) -> NDArray[np.float16]:
    """As it travels."""
    return planes.to(torch.float16).cpu().numpy()


def whole(array: NDArray[Any], device: torch.device) -> Tensor:
    """Inverse of :func:`half`; a copy, because what lies in shared memory cannot be written, and torch warns of that."""
    return torch.from_numpy(np.array(array, np.float32)).to(device)
