"""A plan from films: headers, a sample, stage times, arithmetic."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from dvcp.errors import ConfigError, DvcpError
from dvcp.media.source import stem
from dvcp.methods import create
from dvcp.planning.calibration import Calibration, Cost, Fixed, spread
from dvcp.planning.estimate import Crew, Plan, Sample, estimate
from dvcp.planning.fixed import fixed_costs
from dvcp.planning.headers import Header, read_headers
from dvcp.planning.measure import Measured, measure, plain_bytes
from dvcp.planning.rates import Rates
from dvcp.planning.stretches import Stretch, draw, look_at_all
from dvcp.runtime.cluster import THREADS
from dvcp.runtime.expendable import Expendable
from dvcp.shots.names import IMAGES, extension, place_of
from dvcp.store import files

#: clips that every stage is measured on, and stretches whose output is weighed
CLIPS, WEIGHED = 3, 16
#: seconds without a sign of life: a network may take long over one window
SILENCE_S = 600


@dataclass(frozen=True)
class PlanSettings:
    """What a person asks for.

    Attributes:
        method, options, profile: as for a run.
        references: folder of painted stills, to be counted by film; None = not asked.
        sample: stretches to look at.
        seed: of their choice.
        segment_frames: most frames of a segment.
        crew: who will work; cores 0 = as the calibration's machine has.
        rates: prices.
    """

    method: str = "dvcp"
    options: Mapping[str, Any] = field(default_factory=dict)
    profile: str = "master"
    references: str | None = None
    sample: int = 24
    seed: int = 1
    segment_frames: int = 240
    crew: Crew = field(default_factory=lambda: Crew(cores=0))
    rates: Rates = field(default_factory=Rates)


@dataclass(frozen=True)
class Planned:
    """A plan and what it rests on.

    Attributes:
        plan: the figures.
        calibration: stage times.
        films: the headers that could be read.
        failed: why the others could not, by URL.
        stills: pictures among the references that name one of the films; None = not asked.
    """

    plan: Plan
    calibration: Calibration
    films: tuple[Header, ...]
    failed: dict[str, str]
    stills: int | None


def make_plan(
    settings: PlanSettings, films: Sequence[str], calibration: Calibration | None = None, say: Callable[[str], None] = lambda line: None
) -> Planned:
    """Probe, sample, measure (unless a ``calibration`` is given) and add up.

    Args:
        say: told what is being done.

    Raises:
        ConfigError: no film can be read, or the calibration is of another method or profile.
        DvcpError: the method cannot run.
    """
    if calibration and (calibration.method, calibration.profile) != (settings.method, settings.profile):
        told = f"the calibration is of {calibration.method} as {calibration.profile}"
        raise ConfigError(f"{told}, not {settings.method} as {settings.profile}", hint="measure anew: leave --calibration out")
    say(f"reading {len(films)} headers")
    headers, failed = read_headers(films)
    if not headers:
        raise ConfigError("none of the films can be read", hint="; ".join(list(failed.values())[:3]))
    places = draw(headers, settings.sample, settings.seed)
    with Expendable(SILENCE_S) as child:
        say(f"looking at {len(places)} stretches")
        stretches, trouble = look_at_all(places, child)
        if not stretches:
            raise ConfigError("none of the films can be decoded", hint="; ".join(list(trouble.values())[:3]))
        seen = {s.film for s in stretches}
        usable = [place for place in places if place[0].url in seen]
        step = max(1, len(usable) // WEIGHED)
        plain: list[tuple[float, float]] = []
        for film, start in usable[::step]:
            try:
                plain.append((child.call(plain_bytes, film, start, settings.profile, file=film.url), film.megapixels))
            except DvcpError as error:
                trouble[film.url] = str(error)
        if not plain:
            raise ConfigError("nothing of the films can be encoded", hint="; ".join(list(trouble.values())[:3]))
        if calibration is None:
            say("measuring stages")
            calibration = _calibrate(settings, usable, stretches, child)
    # What cannot be decoded at one place is told, but counted: the run will deliver the rest of it.
    failed |= {url: line for url, line in trouble.items() if url not in seen}
    counted = [header for header in headers if header.url not in failed]
    crew = settings.crew if settings.crew.cores else _crew(settings.crew, calibration)
    sample = Sample(tuple(stretches), tuple(plain), settings.seed)
    plan = estimate(counted, sample, calibration, crew, settings.rates, settings.segment_frames)
    return Planned(plan, calibration, tuple(counted), failed, _stills(settings.references, counted))


def _crew(crew: Crew, calibration: Calibration) -> Crew:
    # A node of the calibrated kind for each GPU: fewer cores would starve it, and that the user has to say.
    return Crew(crew.gpus, calibration.cores * max(1, crew.gpus), crew.propagators, crew.films, crew.hours_a_night)


def _calibrate(settings: PlanSettings, places: Sequence[Any], stretches: Sequence[Stretch], child: Expendable) -> Calibration:
    """Measure a few of the places, the most common picture sizes first."""
    threads = min(THREADS, os.cpu_count() or 1)
    decode = _decoding(stretches)
    found: list[Measured] = []
    for number in spread([(film.megapixels, film.frames) for film, _ in places], CLIPS):
        film, start = places[number]
        arguments = (film, start, decode[film.megapixels], settings.method, dict(settings.options), settings.profile, threads)
        found.append(child.call(measure, *arguments, file=film.url))
    start_s, film_s, segment_s = fixed_costs()
    rates = [float(np.mean([getattr(m, name) for m in found])) for name in ("hash_byte", "put_byte")]
    points = tuple(sorted((m.point for m in found), key=lambda point: point.megapixels))
    machine, device = child.call(_machine, file="this machine")
    return Calibration(
        machine, f"measured {datetime.now(UTC):%Y-%m-%d}", os.cpu_count() or 1, device, settings.method, settings.profile,
        create(settings.method, **settings.options).window.frames, points, Fixed(start_s, film_s, segment_s, *rates),
    )  # fmt: skip


def _decoding(stretches: Sequence[Stretch]) -> dict[float, Cost]:
    """Decoding of a frame, by size of the picture."""
    sizes: dict[float, list[Stretch]] = {}
    for s in stretches:
        sizes.setdefault(s.megapixels, []).append(s)
    frames = {size: sum(s.frames for s in own) for size, own in sizes.items()}
    return {
        size: Cost(sum(s.decode_s for s in own) / frames[size], sum(s.decode_cpu_s for s in own) / frames[size])
        for size, own in sizes.items()
    }


def _machine() -> tuple[str, str]:
    """What this machine is, and its GPU."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return f"{os.cpu_count()} cores {platform.machine()}" + (f", {gpu}" if gpu else ""), gpu


def _stills(references: str | None, films: Sequence[Header]) -> int | None:
    """Pictures in a folder whose names say that they are frames of one of ``films``."""
    if references is None:
        return None
    stems = {stem(film.url) for film in films}
    names = [name for name in files.list_names(references) if extension(name) in IMAGES]
    return sum(1 for name in names if any((place := place_of(name, one)) and place.stem == one for one in stems if name.startswith(one)))
