"""What the methods made of trained networks have in common: devices, loading at first use, the working grid, the digest."""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from dvcp.colour import ColourSpec
from dvcp.errors import ConfigError
from dvcp.methods.base import COMPUTES_ON, Chroma, Evidence, Window, WindowSpec
from dvcp.methods.grid import WorkingGrid
from dvcp.nets.features import Backbone, load_backbone
from dvcp.nets.weights import weights_digest
from dvcp.ops.precision import fast_dtype


class NetworkSettings(Protocol):
    """What every such method is told; its own settings, a frozen dataclass, have more."""

    @property
    def weights(self) -> str: ...
    @property
    def device(self) -> str: ...


class BackboneSettings(NetworkSettings, Protocol):
    """What a method on a feature backbone is told."""

    @property
    def branches(self) -> str: ...
    @property
    def backbone(self) -> str: ...
    @property
    def working_height(self) -> int: ...


def check_feedback(feedback: str) -> None:
    """Raises ConfigError unless it is "fused" or "local"."""
    if feedback not in ("fused", "local"):
        raise ConfigError(f"feedback {feedback!r}", hint="fused or local")


class Networks(ABC):
    """Base of a method. Networks are loaded when first used: a matcher never holds what only propagation needs, and the reverse."""

    window = WindowSpec(8)
    automatic = False
    borrows = True
    #: raised with every change of the code that changes the picture
    revision: ClassVar[int]

    def __init__(self, name: str, settings: NetworkSettings) -> None:
        self.name = name
        self._settings = settings
        choice = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            self.device = torch.device(choice if settings.device == "auto" else settings.device)
        except RuntimeError as error:
            raise ConfigError(f"no device {settings.device!r}", hint="auto, cpu or cuda") from error
        self.dtype = self.dtype_on(self.device)
        self._loaded: dict[str, Any] = {}

    def dtype_on(self, device: torch.device) -> torch.dtype:
        """What its networks compute with on a device."""
        return fast_dtype(device)

    def digest(self) -> str:
        """sha256 (hex) of settings, weights and whatever else decides the picture."""
        parts: dict[str, Any] = asdict(self._settings)  # type: ignore[call-overload]  # the protocol's readers are all dataclasses
        device = torch.device(os.environ.get(COMPUTES_ON, self.device.type)) if self._settings.device == "auto" else self.device
        parts |= {"device": device.type, "dtype": str(self.dtype_on(device)), "window": self.window.frames, "revision": self.revision}
        # What the weights are, never where they lie.
        parts |= self._weights()
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _weights(self) -> dict[str, str]:
        """Digests of all weights; "weights" takes the place of the setting."""
        return {"weights": self.weights_digest}

    @property
    @abstractmethod
    def needs(self) -> tuple[str, ...]:
        """Parts of the weights this method cannot do without."""

    @abstractmethod
    def _net(self, part: str) -> Any:
        """The network in a part of the weights, loaded at the first call."""

    def load(self) -> None:
        """Load what the method needs now, where a wrong file costs nothing yet.

        Raises:
            WeightsError: a file cannot be read, or holds other parts.
        """
        for part in self.needs:
            self._net(part)

    @property
    @abstractmethod
    def weights_digest(self) -> str:
        """sha256 (hex) of the weights that were given."""


class BackboneNetworks(Networks):
    """Networks in one weights file, on top of a frozen feature backbone, that see the picture on the working grid."""

    def __init__(self, settings: BackboneSettings) -> None:
        if type(settings.working_height) is not int or settings.working_height < 1:
            raise ConfigError(f"working height {settings.working_height!r}", hint="a whole number of lines")
        super().__init__(settings.branches, settings)
        self._seeing = settings

    def _weights(self) -> dict[str, str]:
        return super()._weights() | {"backbone_weights": self._backbone.weights_digest}

    @property
    def weights_digest(self) -> str:
        return weights_digest(self._settings.weights)

    @property
    def _backbone(self) -> Backbone:
        if "backbone" not in self._loaded:
            self._loaded["backbone"] = load_backbone(self._seeing.backbone).to(self.device)
        backbone: Backbone = self._loaded["backbone"]
        return backbone

    def _grid(self, shape: tuple[int, ...], colour: ColourSpec) -> WorkingGrid:
        return WorkingGrid.of(shape[-2], shape[-1], colour, self._seeing.working_height)

    def _matched(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Evidence as the networks take it: I^s ``[T, 3, ...]`` and how sure it is, ``[T, 1, ...]`` in [0, 1]."""
        assert evidence.planes is not None and evidence.confidence is not None, "this branch cannot do without a match"
        # np.array: evidence may lie in shared memory, which cannot be written, and from_numpy() warns of that
        matched = torch.from_numpy(np.array(evidence.planes)).to(self.device).float()
        return matched, torch.from_numpy(np.array(evidence.confidence)).to(self.device).float()[:, None] / 255

    def _chroma(self, chroma: Tensor, sure: Tensor, luma: Tensor, window: Window, grid: WorkingGrid) -> Chroma:
        planes = grid.restore(chroma, luma, window.luma)
        return Chroma(planes.float().cpu().numpy(), grid.restore_confidence(sure).cpu().numpy())
