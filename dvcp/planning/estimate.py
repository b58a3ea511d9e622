"""From headers, a sample and a calibration to hours, bytes and money: arithmetic alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from dvcp.planning.calibration import Calibration
from dvcp.planning.headers import Header
from dvcp.planning.ranges import Range, bootstrap_ratio
from dvcp.planning.rates import Rates
from dvcp.planning.stretches import Stretch
from dvcp.runtime.cluster import THREADS

#: times the source is read from end to end: its digest, probe, survey, decoder, writer and sound for the run; two probes, decoding and
#: digest to verify it
SOURCE_READS = 10
#: times the output is read (probe, decoding and digest to verify it), and its segments (check before joining, joining, verification)
OUTPUT_READS, SEGMENT_READS = 3, 3
#: requests of a segment (file, size, record, state, and asking for them before, at the join, at verification), and of a film
SEGMENT_REQUESTS, FILM_REQUESTS = 14, 60
#: bytes fetched by one request
BLOCK = 8 << 20


@dataclass(frozen=True)
class Crew:
    """Who does the work.

    Attributes:
        gpus: 0 = networks run on the CPU.
        cores: of all machines together.
        propagators: segments under way at once; 0 = as the product chooses.
        films: under way at once; more than one hides the start and end of each behind the others.
        hours_a_night: that may be used of each night.
    """

    gpus: int = 0
    cores: int = 1
    propagators: int = 0
    films: int = 2
    hours_a_night: float = 24.0

    @property
    def lanes(self) -> int:
        """Segments under way at once."""
        return self.propagators or self.gpus or max(1, self.cores // THREADS)


@dataclass(frozen=True)
class Sample:
    """What is not in headers.

    Attributes:
        stretches: looked at.
        plain: (bytes of output without colour, megapixels of the pictures they are of) of some places.
        seed: of the bootstrap.
    """

    stretches: tuple[Stretch, ...]
    plain: tuple[tuple[float, float], ...]
    seed: int


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        films, frames: counted; ``announced`` of the frames by containers, the others by duration and rate.
        duration: of all films, seconds.
        source_bytes: of all films.
        stretches, sampled_frames: how much was looked at.
        shots, segments: of all films.
        bytes_out: of all outputs alone; segments and their ledger take as much again and are kept.
        bytes_read, bytes_written: by the whole run, of and to the store.
        requests: to the store.
        device_hours: of GPUs at work, 0 without any.
        core_hours: of CPU cores at work.
        hours: from start to end, with ``crew``.
        nights: whole ones.
        fps: frames a second over the whole time, in the middle case.
        cost: of each kind, and their sum under "all"; ``rates`` says in what.
        stages: seconds of all films in each stage, one after the other, in the middle case.
        crew, rates: that it is for.
    """

    films: int
    frames: int
    announced: int
    duration: Fraction
    source_bytes: int
    stretches: int
    sampled_frames: int
    shots: Range
    segments: Range
    bytes_out: Range
    bytes_read: Range
    bytes_written: Range
    requests: Range
    device_hours: Range
    core_hours: Range
    hours: Range
    nights: tuple[int, int, int]
    fps: float
    cost: dict[str, Range]
    stages: dict[str, float]
    crew: Crew
    rates: Rates


def estimate(
    films: Sequence[Header], sample: Sample, calibration: Calibration, crew: Crew, rates: Rates, segment_frames: int = 240
) -> Plan:
    """What colouring ``films`` takes.

    Ranges cover what the sample leaves open: shots, and size of the output. That stages take what they took when they were measured, and
    that every shot is coloured once through, is assumed.

    Args:
        films: at least one.
        segment_frames: most frames of a segment.

    Raises:
        ValueError: no film, or a sample without frames.
    """
    frames = sum(film.frames for film in films)
    cuts = bootstrap_ratio([s.cuts for s in sample.stretches], [s.exposure for s in sample.stretches], sample.seed, prior=0.5)
    per_megapixel = bootstrap_ratio([b for b, _ in sample.plain], [m for _, m in sample.plain], sample.seed) * calibration.colour_bytes
    # A film of n frames has a first shot without a cut.
    shots = cuts * frames + Range.exactly(len(films))
    segments = shots + Range.exactly(frames / segment_frames)
    samples = sum(film.frames * film.megapixels for film in films)
    out = per_megapixel * samples
    size = sum(film.size for film in films)
    times = [_times(films, segments.low, out.low, calibration, crew), _times(films, segments.middle, out.middle, calibration, crew),
             _times(films, segments.high, out.high, calibration, crew)]  # fmt: skip
    hours = Range(*(t.elapsed / 3600 for t in times))
    read = out * (OUTPUT_READS + SEGMENT_READS) + Range.exactly(size * SOURCE_READS)
    written = out * 2
    requests = segments * SEGMENT_REQUESTS + Range.exactly(len(films) * FILM_REQUESTS) + read * (1 / BLOCK)
    machine = (hours * (crew.gpus * rates.gpu_hour), "gpu") if crew.gpus else (hours * (crew.cores * rates.cpu_hour), "cpu")
    cost = {
        machine[1]: machine[0],
        "storage a month": written * (rates.gb_month / 1e9),
        "egress": read * (rates.gb_egress / 1e9),
        "requests": requests * (rates.million_requests / 1e6),
    }
    total = Range.exactly(0.0)
    for part in cost.values():
        total += part
    return Plan(
        films=len(films), frames=frames, announced=sum(film.frames for film in films if film.counted),
        duration=sum((film.duration for film in films), Fraction(0)), source_bytes=size, stretches=len(sample.stretches),
        sampled_frames=sum(s.frames for s in sample.stretches), shots=shots, segments=segments, bytes_out=out, bytes_read=read,
        bytes_written=written, requests=requests, device_hours=Range(*(t.device / 3600 for t in times)),
        core_hours=Range(*(t.cores / 3600 for t in times)), hours=hours,
        nights=(_nights(hours.low, crew), _nights(hours.middle, crew), _nights(hours.high, crew)),
        fps=frames / times[1].elapsed, cost=cost | {"all": total}, stages=times[1].stages, crew=crew, rates=rates,
    )  # fmt: skip


def _nights(hours: float, crew: Crew) -> int:
    return math.ceil(hours / crew.hours_a_night)


@dataclass(frozen=True)
class _Times:
    """Seconds: of GPUs and of cores at work, from start to end, and of each stage one film after the other."""

    device: float
    cores: float
    elapsed: float
    stages: dict[str, float]


def _times(films: Sequence[Header], segments: float, out: float, calibration: Calibration, crew: Crew) -> _Times:
    fixed, frames = calibration.fixed, sum(film.frames for film in films)
    samples = sum(film.frames * film.megapixels for film in films)
    before = colour = after = proof = device = cores = longest = 0.0
    for film in films:
        decode, survey, match, propagate, encode, join, verify = (
            calibration.cost(stage, film.megapixels) for stage in ("decode", "survey", "match", "propagate", "encode", "assemble", "verify")
        )
        share = film.frames * film.megapixels / samples
        written, count = out * share, film.frames
        put = fixed.put_byte * written / count
        networks = 0.0 if crew.gpus else match.cpu + propagate.cpu
        # Both the decoder and the writer decode, each in a process of its own; the slowest process of a lane sets its pace.
        pace = max(decode.wall, match.wall, propagate.wall, decode.wall + encode.wall + put) / crew.lanes
        busy = 2 * decode.cpu + networks + encode.cpu + put
        pace = max(pace, busy / crew.cores, (match.wall + propagate.wall) / crew.gpus if crew.gpus else 0.0)
        parts = (
            count * (decode.wall + survey.wall) + film.size * fixed.hash_byte,
            count * pace + segments * (film.frames / frames) * fixed.segment / crew.lanes,
            count * join.wall + written * (fixed.hash_byte + fixed.put_byte),
            count * (decode.wall + verify.wall) + (2 * written + film.size) * fixed.hash_byte,
        )
        before, colour, after, proof = before + parts[0], colour + parts[1], after + parts[2], proof + parts[3]
        device += count * (match.wall + propagate.wall) if crew.gpus else 0.0
        cores += count * (busy + 2 * decode.cpu + survey.cpu + join.cpu + verify.cpu) + (5 * written + 2 * film.size) * fixed.hash_byte
        longest = max(longest, sum(parts) + fixed.film)
    own = len(films) * fixed.film
    cores += own + segments * fixed.segment
    work = max(colour + (before + after + proof + own) / crew.films, cores / crew.cores, longest)
    stages = {"start": fixed.start, "survey": before, "colour": colour, "join": after, "verify": proof, "each film": own}
    return _Times(device, cores, fixed.start + work, stages)
