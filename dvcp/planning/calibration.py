"""What each stage takes on one kind of machine, as measured or computed, in a file that plans and simulations are made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dvcp.errors import ConfigError
from dvcp.store import files

#: stages whose time goes with frames; ``survey``, ``verify`` without the decoding of the source, which both need as well
STAGES = ("decode", "survey", "match", "propagate", "encode", "assemble", "verify")


@dataclass(frozen=True)
class Cost:
    """Seconds a frame of one stage: ``wall`` by the clock, ``cpu`` of all its threads together."""

    wall: float
    cpu: float

    def __mul__(self, factor: float) -> Cost:
        return Cost(self.wall * factor, self.cpu * factor)


@dataclass(frozen=True)
class Point:
    """Stages measured on pictures of one size.

    Attributes:
        megapixels: of a picture.
        frames: measured.
        stages: by name of :data:`STAGES`.
        colour_bytes: bytes of coloured output over those of the same output without colour.
    """

    megapixels: float
    frames: int
    stages: Mapping[str, Cost]
    colour_bytes: float


@dataclass(frozen=True)
class Fixed:
    """Seconds that go with no frame.

    Attributes:
        start: of a command, with Ray and its actors.
        film: each film, from its claim to its provenance.
        segment: each segment: a call through three actors, a seek, a file, a record.
        hash_byte, put_byte: each byte of a file hashed; hashed and put into the store that was measured.
    """

    start: float
    film: float
    segment: float
    hash_byte: float
    put_byte: float


@dataclass(frozen=True)
class Calibration:
    """One kind of machine running one method.

    Attributes:
        machine: what it is, for people.
        origin: how the figures came about: "measured DATE", or what was computed.
        cores: of the CPU.
        device: name of the GPU that networks ran on, "" for none.
        method, profile: measured with.
        window: frames of the method's window.
        points: at least one, rising in size.
        fixed: costs without frames.
    """

    machine: str
    origin: str
    cores: int
    device: str
    method: str
    profile: str
    window: int
    points: tuple[Point, ...]
    fixed: Fixed

    def cost(self, stage: str, megapixels: float) -> Cost:
        """Of one frame of ``megapixels``: on a line through points of several sizes, in proportion from those of one.

        Never below half of proportional: a line through two noisy points may fall under the ground.
        """
        sizes = np.array([p.megapixels for p in self.points])
        found = []
        for kind in ("wall", "cpu"):
            times = np.array([getattr(p.stages[stage], kind) for p in self.points])
            scaled = float(times.sum() / sizes.sum()) * megapixels
            if np.ptp(sizes) > 0.2 * sizes.max():
                slope, base = np.polyfit(sizes, times, 1)
                line = float(base + slope * megapixels) if slope > 0 else scaled
                scaled = max(line, scaled / 2)
            found.append(scaled)
        return Cost(*found)

    @property
    def colour_bytes(self) -> float:
        """Mean over points."""
        return float(np.mean([p.colour_bytes for p in self.points]))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Inverse of :meth:`to_json`. Raises KeyError, TypeError or ValueError where it is none."""
        points = tuple(
            Point(float(p["megapixels"]), int(p["frames"]), {s: Cost(**p["stages"][s]) for s in STAGES}, float(p["colour_bytes"]))
            for p in data["points"]
        )
        if not points:
            raise ValueError("no points")
        return cls(**{**data, "points": points, "fixed": Fixed(**data["fixed"])})


def read_calibration(url: str) -> Calibration:
    """Read what :func:`write_calibration` wrote. Raises ConfigError."""
    data = files.get_bytes(url)
    if data is None:
        raise ConfigError("no such calibration", file=url, hint="write one with: dvcp plan FILMS --save-calibration FILE")
    try:
        return Calibration.from_json(json.loads(data))
    except (KeyError, TypeError, ValueError) as error:
        hint = "write one with: dvcp plan FILMS --save-calibration FILE"
        raise ConfigError(f"is no calibration: {type(error).__name__}: {error}", file=url, hint=hint) from error


def write_calibration(calibration: Calibration, url: str) -> None:
    """Store it as JSON, to be read by people too. Raises StoreError."""
    files.put_bytes(json.dumps(calibration.to_json(), indent=1).encode(), url)


def with_device(calibration: Calibration, origin: str, device: str, ms: float, megapixels: float) -> Calibration:
    """The same machine with an imagined GPU that takes ``ms`` milliseconds of matching and propagating, half each, for a frame of
    ``megapixels``; ``origin`` says where that figure is from."""
    half = Cost(ms / 2000 / megapixels, 0.0)

    def imagined(point: Point) -> Point:
        networks = dict.fromkeys(("match", "propagate"), half * point.megapixels)
        return replace(point, stages={**point.stages, **networks})

    return replace(calibration, origin=origin, device=device, points=tuple(imagined(p) for p in calibration.points))


def spread(items: Sequence[tuple[float, int]], count: int) -> list[int]:
    """Which ``count`` of (megapixels, frames that stand for it) to measure: the most common sizes first, each once before any twice."""
    sizes: dict[float, list[int]] = {}
    for number, (megapixels, _) in enumerate(items):
        sizes.setdefault(round(megapixels, 3), []).append(number)
    queues = sorted(sizes.values(), key=lambda numbers: -sum(items[n][1] for n in numbers))
    chosen: list[int] = []
    while len(chosen) < min(count, len(items)):
        chosen += [numbers.pop(0) for numbers in queues if numbers]
    return chosen[:count]
