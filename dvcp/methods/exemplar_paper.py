"""Deep Exemplar-based Video Colorization (Zhang et al. 2019) with the networks and the checkpoints of its authors.

W and S of a frame come from the reference by dense correspondence (equation 6: ``match``); C colours the frame from L*, W, S and the last
frame as it was coloured (equation 7: ``propagate``). What the authors do to the picture around the networks is left out: nothing is cropped
to 16:9, saturation is not raised unless asked, colour comes back along the edges of the film's own luma, which is never touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec, luma_to_unit
from dvcp.errors import ConfigError, WeightsError
from dvcp.methods.base import Chroma, Evidence, Reference, Window
from dvcp.methods.grid import WorkingGrid
from dvcp.methods.networks import Networks
from dvcp.nets.checkpoints import HINT, Checkpoints
from dvcp.nets.exemplar_paper import LEAST, MULTIPLES
from dvcp.ops.correlate import Places, correlate, joined, unit_features
from dvcp.ops.lab import gray_to_lightness, lab_to_chroma, rgb_to_lab, ycbcr_to_rgb_planes

NAME = "exemplar-paper"
State = dict[str, NDArray[Any]]
#: pixels along one side of a place of the correspondence
_PLACE = 4
#: most places of a frame that are correlated: the work grows with their square
MAX_PLACES = 64 * 114
#: half the range of L*, which the networks see centred
_CENTRE = 50.0


@dataclass(frozen=True)
class Settings:
    """What decides the picture.

    Attributes:
        weights: folder or fsspec URL with the authors' files, see :mod:`dvcp.nets.checkpoints`; there is no default.
        tau: temperature of the correspondence. None takes the likeliest place, as the authors do at inference; their training has 0.01,
            which is less blocky where reference and shot differ.
        saturation: factor of a* and b* on the way out. The authors' own videos have 1.25; it never enters the next frame.
        reference_features: the reference is seen in "colour", as the weights were trained, or in "gray", like the frames.
        working_height: most lines (of the shorter side) the networks see; the paper has 216.
        device: "auto" is CUDA when there is one, else the CPU.

    Raises:
        WeightsError: no weights.
        ConfigError: a value out of its range.
    """

    weights: str = ""
    tau: float | None = None
    saturation: float = 1.0
    reference_features: Literal["colour", "gray"] = "colour"
    working_height: int = 216
    device: str = "auto"

    def __post_init__(self) -> None:
        if not self.weights:
            raise WeightsError(f"method {NAME} comes without weights", hint=HINT)
        if self.tau is not None and not (self.tau > 0 and math.isfinite(self.tau)):
            raise ConfigError(f"tau {self.tau}", hint="above 0, or none for the likeliest place")
        if not (self.saturation >= 0 and math.isfinite(self.saturation)):
            raise ConfigError(f"saturation {self.saturation}", hint="0 or more")
        if self.reference_features not in ("colour", "gray"):
            raise ConfigError(f"reference_features {self.reference_features!r}", hint="colour or gray")
        if self.working_height < 1:
            raise ConfigError(f"working_height {self.working_height}", hint="1 or more")


def _up(size: int, multiple: int) -> int:
    return max(LEAST, -(-size // multiple) * multiple)


def _down(size: float, multiple: int) -> int:
    return max(LEAST, int(size) // multiple * multiple)


def _resized(planes: Tensor, size: tuple[int, int]) -> Tensor:
    """Area average where the picture shrinks, bilinear where it grows."""
    if tuple(planes.shape[-2:]) == size:
        return planes
    if size[0] > planes.shape[-2] or size[1] > planes.shape[-1]:
        return F.interpolate(planes, size=size, mode="bilinear", align_corners=False)
    return F.interpolate(planes, size=size, mode="area")


@dataclass(frozen=True)
class PaddedGrid:
    """Sizes on which the networks see a film.

    Attributes:
        grid: the film scaled down, in its own shape.
        padded: (height, width) of that, grown at the bottom and the right to multiples of (8, 16) and at least 32: what C sees.
        matched: (height, width) of the same picture as it is correlated, at most MAX_PLACES places; equal to ``padded`` as a rule.
    """

    grid: WorkingGrid
    padded: tuple[int, int]
    matched: tuple[int, int]

    @classmethod
    def of(cls, height: int, width: int, colour: ColourSpec, working_height: int) -> PaddedGrid:
        """Sizes for a film of ``height`` x ``width``."""
        scale = min(1.0, working_height / min(height, width))
        grid = WorkingGrid(max(1, round(height * scale)), max(1, round(width * scale)), colour, (height, width))
        padded = _up(grid.height, MULTIPLES[0]), _up(grid.width, MULTIPLES[1])
        places = padded[0] * padded[1] / _PLACE**2
        if places <= MAX_PLACES:
            return cls(grid, padded, padded)
        less = math.sqrt(MAX_PLACES / places)
        # A strip may be so narrow that LEAST widens it: then the other side gives way.
        rows = _down(min(padded[0] * less, MAX_PLACES * _PLACE**2 / LEAST), MULTIPLES[0])
        columns = _down(min(padded[1] * less, MAX_PLACES * _PLACE**2 / rows), MULTIPLES[1])
        return cls(grid, padded, (rows, columns))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) without the padding."""
        return self.grid.height, self.grid.width

    def _pad(self, planes: Tensor) -> Tensor:
        rows, columns = self.padded[0] - self.grid.height, self.padded[1] - self.grid.width
        # Reflection, because IN would see a picture that stands still there; it cannot reach further than the picture.
        mode = "reflect" if rows < self.grid.height and columns < self.grid.width else "replicate"
        return F.pad(planes, (0, columns, 0, rows), mode=mode)

    def luma(self, samples: NDArray[Any], device: torch.device) -> Tensor:
        """Native luma ``[T, H, W]`` to Y' ``[T, 1, *padded]``."""
        full = torch.from_numpy(luma_to_unit(samples, self.grid.colour)).to(device)[:, None]
        return self._pad(_resized(full, self.size))

    def rgb(self, reference: Reference, device: torch.device) -> Tensor:
        """R'G'B' of a reference, ``[1, 3, *padded]`` in [0, 1]."""
        # tensor() copies: a reference may lie in shared memory, which cannot be written, and from_numpy() warns of that
        chroma = self._pad(_resized(torch.tensor(reference.chroma, device=device)[None], self.size))
        return ycbcr_to_rgb_planes(torch.cat([self.luma(reference.luma[None], device), chroma], 1), self.grid.colour.matrix)

    def cropped(self, planes: Tensor) -> Tensor:
        """Without the padding."""
        return planes[..., : self.grid.height, : self.grid.width]

    def restore(self, chroma: Tensor, luma: Tensor, samples: NDArray[Any]) -> Tensor:
        """Chroma ``[T, 2, *size]`` to the film's chroma grid, led by the film's luma where it grows."""
        shape = self.grid.colour.chroma_shape(*self.grid.film)
        if shape[0] <= self.size[0] and shape[1] <= self.size[1]:
            return _resized(chroma, shape)
        return self.grid.restore(chroma, luma, samples)


class ExemplarPropagation(Networks):
    """The method, as a :class:`dvcp.methods.base.Method`."""

    revision = 1
    needs = ("vgg19", "nonlocal_net", "colornet")

    def __init__(self, settings: Settings) -> None:
        super().__init__(NAME, settings)
        self.settings = settings
        self._checkpoints = Checkpoints(settings.weights)

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """See :class:`dvcp.methods.networks.Networks`; these networks do not bear less, see dvcp.nets.exemplar_paper."""
        return torch.float32

    @property
    def weights_digest(self) -> str:
        return self._checkpoints.digest

    def _net(self, part: str) -> Any:
        if part not in self._loaded:
            self._loaded[part] = self._checkpoints.load(part).to(self.device)
        return self._loaded[part]

    def _grid(self, shape: tuple[int, ...], colour: ColourSpec) -> PaddedGrid:
        return PaddedGrid.of(shape[-2], shape[-1], colour, self.settings.working_height)

    @torch.inference_mode()
    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Places:
        """phi and a*, b* of every place of all references, on the CPU."""
        return joined([self._places(reference, colour) for reference in references]).to(torch.device("cpu"))

    def _places(self, reference: Reference, colour: ColourSpec) -> Places:
        grid = self._grid(reference.luma.shape, colour)
        rgb = _resized(grid.rgb(reference, self.device), grid.matched)
        if self.settings.reference_features == "gray":
            seen = _as_seen(_resized(grid.luma(reference.luma[None], self.device), grid.matched))
        else:
            seen = rgb
        colours = F.avg_pool2d(rgb_to_lab(rgb)[:, 1:], _PLACE)
        return Places(unit_features(self._net("nonlocal_net").key(self._net("vgg19")(seen))[0]), colours[0].flatten(1).t().contiguous())

    @torch.inference_mode()
    def match(self, window: Window, anchor: Places) -> Evidence:
        """W and S: planes are a*, b* and S, one value a place of the padded picture; confidence is S again, below 0 as 0.

        Frame by frame, so that memory does not grow with the window.
        """
        grid = self._grid(window.luma.shape, window.colour)
        rows, columns = (side // _PLACE for side in grid.matched)
        reference, planes, confidence = anchor.to(self.device), [], []
        for frame in window.luma:
            seen = _as_seen(_resized(grid.luma(frame[None], self.device), grid.matched))
            theta = unit_features(self._net("nonlocal_net").query(self._net("vgg19")(seen))[0])
            found = correlate(theta, reference, self.settings.tau)
            planes.append(torch.cat([found.colours, found.similarity[:, None]], 1).t().reshape(-1, rows, columns).to(torch.float16))
            confidence.append((found.similarity.clamp(0, 1) * 255).round().to(torch.uint8).reshape(rows, columns))
        return Evidence(torch.stack(planes).cpu().numpy(), torch.stack(confidence).cpu().numpy())

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        """The reference as the last frame. Without one, the first frame has none, which is zeros to C."""
        grid = self._grid(reference.luma.shape, colour)
        ab = rgb_to_lab(grid.rgb(reference, torch.device("cpu")))[:, 1:]
        # L* as in every later frame: of Y' taken for gray. The painted colours have another L*, and C would see a change of light.
        lightness = gray_to_lightness(grid.luma(reference.luma[None], torch.device("cpu"))) - _CENTRE
        return {"lab": torch.cat([lightness, ab], 1)[0].numpy()}

    @torch.inference_mode()
    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        """Colour one window. The state is the last frame on the padded grid: float32 ``[3, h, w]``, L* - 50, a* and b*."""
        assert evidence.planes is not None, "there is nothing to colour from"
        grid = self._grid(window.luma.shape, window.colour)
        # np.array: evidence may lie in shared memory, which cannot be written, and from_numpy() warns of that
        found = torch.from_numpy(np.array(evidence.planes)).to(self.device).float()
        found = F.interpolate(found, size=grid.padded, mode="nearest")
        last = torch.zeros_like(found[:1]) if state is None else torch.from_numpy(np.array(state["lab"])).to(self.device)[None]
        planes = []
        # One frame at a time all through: in a batch sums are taken in another order, and a frame's last bit would tell its window.
        for k in range(len(window.luma)):
            samples = window.luma[k : k + 1]
            luma = grid.luma(samples, self.device)
            lightness = gray_to_lightness(luma) - _CENTRE
            last = torch.cat([lightness, self._net("colornet")(torch.cat([lightness, found[k : k + 1], last], 1))], 1)
            planes.append(grid.restore(self._chroma(grid.cropped(last), window.colour), grid.cropped(luma), samples))
        confidence = grid.grid.restore_confidence(grid.cropped(found[:, 2:]).clamp(0, 1))
        return {"lab": last[0].cpu().numpy()}, Chroma(torch.cat(planes).cpu().numpy(), confidence.cpu().numpy())

    def _chroma(self, lab: Tensor, colour: ColourSpec) -> Tensor:
        """L* - 50, a*, b* of C as Cb and Cr of the film's matrix."""
        return lab_to_chroma(torch.cat([lab[:, :1] + _CENTRE, lab[:, 1:] * self.settings.saturation], 1), colour.matrix)


def _as_seen(luma: Tensor) -> Tensor:
    """A gray picture as VGG19 sees it: the authors show it L* / 100 three times, not Y'."""
    return (gray_to_lightness(luma) / 100).expand(-1, 3, -1, -1)
