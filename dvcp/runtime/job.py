"""One film from source to verified output, as steps that the command line and the Prefect flow both call."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dvcp.delivery.mark import Mark, recipe
from dvcp.errors import ConfigError, MediaError, StoreError
from dvcp.media.assemble import assemble
from dvcp.media.compare import Comparison, compare
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER, Profile, profile_for, profile_of
from dvcp.media.source import content_digest, stem
from dvcp.methods import NAMES, create
from dvcp.methods.base import Method, Trained
from dvcp.runtime import guess
from dvcp.runtime.look import Look, look, told
from dvcp.runtime.plan import Planner, Segment, missing
from dvcp.runtime.references import Assignment, Missing, assign
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.work import Work
from dvcp.shots.references import Picture, find_references
from dvcp.shots.survey import Character
from dvcp.shots.timeline import ShotList
from dvcp.store import files
from dvcp.store.ledger import Ledger, SegmentRecord
from dvcp.store.output import Output, abort_stale_uploads, claim, free_space
from dvcp.store.provenance import damaged_frames, provenance, write_provenance, write_pts
from dvcp.store.scratch import scratch
from dvcp.store.secrets import Secrets

if TYPE_CHECKING:
    from dvcp.runtime.driver import Driver, Report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobSettings:
    """What a person asks for.

    Attributes:
        source: the film, a path or any fsspec URL.
        references: folder, image or manifest of painted stills and other pictures; None for methods that need none (automatic ones, gray)
            or with ``missing`` "auto".
        out: output file, or a folder ending in "/".
        method: one of :data:`dvcp.methods.NAMES`.
        options: of the method, e.g. ``{"weights": "w.safetensors"}``.
        profile: name of one of :data:`dvcp.media.profiles.PROFILES`.
        shots: an edited shot list; None takes the exporter's list beside the references, else finds the cuts.
        at: frame a single picture paints.
        missing: what a shot without a still gets when no loose picture fits.
        take: most pictures from elsewhere for a shot without a still.
        pools: actors.
        segment_frames: most frames of a segment, at most so many are computed again after a crash.
        memory_mb: bound on decoded pictures waiting to be coloured, for each propagator.
        silence_s: seconds a process may show no sign of life on a film before it is killed.
    """

    source: str
    references: str | None
    out: str
    method: str = "dvcp"
    options: dict[str, Any] = field(default_factory=dict)
    profile: str = MASTER.name
    shots: str | None = None
    at: int | None = None
    missing: Missing = Missing.NEAREST
    take: int = 1
    pools: PoolSettings = field(default_factory=PoolSettings)
    segment_frames: int = 240
    memory_mb: int = 512
    silence_s: float = 600


@dataclass(frozen=True, eq=False)
class Job:
    """A film ready to be coloured: everything decided, nothing computed."""

    settings: JobSettings
    info: VideoInfo
    source_digest: str
    output: Output
    shots: ShotList
    characters: Mapping[int, Character]
    assignments: tuple[Assignment, ...]
    method_digest: str
    window: int
    plan: tuple[Segment, ...]
    warnings: tuple[str, ...]
    started: datetime

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.output.ledger_url)

    @property
    def segments(self) -> list[Segment]:
        """Those that become part of the output, in film order."""
        return sorted((s for s in self.plan if not s.scout), key=lambda s: s.span)

    def todo(self) -> list[Segment]:
        """Segments not yet in the ledger (and the scouts they need)."""
        return missing(self.plan, self.ledger)


def prepare(settings: JobSettings, info: VideoInfo | None = None) -> Job:
    """Probe (unless ``info`` is at hand), claim the output, find shots and references, and plan.

    Raises:
        DvcpError: of the kind that says what is wrong with method, weights, source, stills, shot list or output.
    """
    started = datetime.now(UTC)
    # First what has nothing to do with the film: nobody should wait for a look at a long one to hear of a wrong weights file.
    _check_weights(settings.method, tuple(sorted(settings.options.items())))
    method = create(settings.method, **settings.options)
    info = info or probe(settings.source)
    warnings = []
    if info.announced_frames > len(info.frames):
        warnings.append(f"{info.url}: truncated, {len(info.frames)} of {info.announced_frames} announced frames are there")
    if info.colour.assumed:
        warnings.append(f"{info.url}: carries no colour matrix; {info.colour.matrix} is assumed from its height")
    digest = content_digest(settings.source)
    profile = profile_of(settings.profile)
    output = Output.at(settings.out, settings.source, "_colour" + profile.suffix)
    if not output.file_url.endswith(profile.suffix) or profile_for(output.file_url) is not profile:
        raise ConfigError(
            f"profile {profile.name} writes {profile.suffix} files", file=output.file_url, hint="change --out or --profile"
        )
    steps = np.diff(info.frames.pts)
    if profile.container == "matroska" and len(steps) and int(steps.min()) * info.frames.timebase < Fraction(1, 1000):
        # Matroska counts in milliseconds: frames closer than that would get one time.
        message = "frames stand less than a millisecond apart, which Matroska cannot hold"
        hint = "give it a true frame rate with ffmpeg, or --profile access"
        raise MediaError(message, file=info.url, frame=int(steps.argmin()), hint=hint)
    claim(output, digest, settings.source)
    space, needed = free_space(output.ledger_url), _estimate(info, profile)
    if space is not None and space < needed:
        message = f"needs about {needed >> 20} MiB, {space >> 20} MiB are free"
        raise StoreError(message, file=output.file_url, hint="free space or choose another --out")
    seen = look(info, output, settings.shots, settings.references)
    info, shots = seen.info, seen.shots
    # Whoever asks for gray gets gray, of a film in colour too.
    characters = {} if settings.method == "gray" else seen.characters
    assignments, doubts = ([], []) if settings.method == "gray" else _assigned(settings, method, seen, output)
    touched = {a.shot for a in assignments if a.sources}
    warnings += [*seen.warnings, *(told(seen, touched) if characters else []), *doubts]
    planner = Planner(
        info, digest, method.digest(), method.window.frames, profile.name, _segment_frames(settings, info), method.automatic
    )
    plan = planner.plan(shots, {a.shot: a.sources for a in assignments}, characters)
    return Job(
        settings, info, digest, output, shots, seen.characters, tuple(assignments), planner.method, planner.window, tuple(plan),
        tuple(warnings), started,
    )  # fmt: skip


@lru_cache(maxsize=1)
def _check_weights(method: str, options: tuple[tuple[str, Any], ...]) -> None:
    """Raise WeightsError or ConfigError unless all that the method needs can be loaded; once for all films."""
    # Who only reads must not take memory of a GPU. (What a method of the user's own understands, nobody knows.)
    made = create(method, **dict(options) | ({"device": "cpu"} if method in NAMES else {}))
    if isinstance(made, Trained):
        made.load()


def _assigned(
    settings: JobSettings, method: Method, seen: Look, output: Output
) -> tuple[list[Assignment], list[str]]:
    """What every shot is coloured from, and warnings."""
    info, shots = seen.info, seen.shots
    pictures, warnings, guessing = list[Picture](), list[str](), settings.missing is Missing.AUTO and not method.automatic
    if settings.references is not None:
        pictures, warnings = find_references(settings.references, shots, stem(settings.source), at=settings.at)
    elif not (method.automatic or guessing or len(seen.settled) == len(shots.shots)):
        hint = "--references DIR, IMAGE or MANIFEST, or --missing auto"
        raise ConfigError(f"method {settings.method} needs pictures in colour", hint=hint)
    found, doubts = assign(info, shots, pictures, settings.missing, settings.take, method=method, settled=seen.settled)
    found, known = guess.marked(info, found)
    found, guesses = guess.fill(info, shots, found, output, seen.settled) if guessing else (found, [])
    return found, [*warnings, *doubts, *known, *guesses]


def _estimate(info: VideoInfo, profile: Profile) -> int:
    """Bytes the output may take: segments and the file joined from them, the one as large as the other."""
    raw = info.width * info.height * 3 // 2 * (2 if info.colour.depth > 8 else 1) * len(info.frames)
    return raw // profile.saves


def _segment_frames(settings: JobSettings, info: VideoInfo) -> int:
    # A backward propagation is held whole until it can be written in film order, so big pictures take shorter segments.
    rows, columns = info.colour.chroma_shape(info.height, info.width)
    return max(16, min(settings.segment_frames, (settings.memory_mb << 20) // (rows * columns * 10)))


def windows_ahead(info: VideoInfo, window: int, memory_mb: int) -> int:
    """Windows of ``window`` frames that may wait decoded and matched within ``memory_mb``, 1 to 4."""
    size = window * info.height * info.width * (2 if info.colour.depth > 8 else 1)
    # Twice over: the picture itself and the evidence found for it.
    return max(1, min(4, (memory_mb << 20) // (2 * size)))


def propagate(
    job: Job, report: Report, driver: Driver | None = None, todo: Sequence[Segment] | None = None
) -> list[SegmentRecord]:
    """Compute what the ledger lacks. Safe to call again after anything.

    Args:
        driver: its actors serve other films too: a start of them costs seconds. Without it the job has its own, gone at its end.
        todo: from :meth:`Job.todo`, where it was asked already.

    Raises:
        DvcpError: what could not be mended; finished segments stay.
    """
    todo, settings = job.todo() if todo is None else todo, job.settings
    if not todo:
        return []
    if driver is None:
        # Not above: those that only look, join and verify would wait for Ray's import.
        from dvcp.runtime.driver import driving

        with driving(settings.pools) as own:
            return propagate(job, report, own, todo)
    ahead = windows_ahead(job.info, job.window, min(settings.memory_mb, driver.open_mb))
    options, secrets = tuple(sorted(settings.options.items())), Secrets.of_environment()
    work = Work(job.info, settings.method, options, job.output.ledger_url, ahead, secrets=secrets)
    return driver.run(work, todo, report, silence_s=settings.silence_s)


def deliver(job: Job) -> list[str]:
    """Join the segments into the output, put it, and write provenance and exact PTS beside it. Returns warnings.

    Raises:
        StoreError: a segment is not in the ledger or its bytes changed.
    """
    ledger, warnings = job.ledger, []
    records = []
    for segment in job.segments:
        record = ledger.get(segment.key)
        if record is None or not ledger.check(record):
            raise StoreError(
                "segment missing or damaged in the ledger", file=job.output.ledger_url, shot=segment.shot, frame=segment.span.first,
                hint="run the same command again",
            )  # fmt: skip
        records.append(record)
    local_out = files.local_path(job.output.file_url)
    folder = os.path.dirname(local_out) if local_out else None
    with scratch(folder) as room:
        parts = []
        for k, record in enumerate(records):
            url = ledger.segment_url(record)
            path = files.local_path(url)
            if path is None:
                path = os.path.join(room, f"{k:06d}.mkv")
                files.fetch_file(url, path)
            parts.append((path, record.span))
        profile = profile_of(job.settings.profile)
        joined = os.path.join(room, "joined" + profile.suffix)
        mark = Mark(job.source_digest, recipe(record.key for record in records))
        warnings += assemble(parts, job.info, joined, profile, mark.tags())
        digest = files.put_file(joined, job.output.file_url)
    abort_stale_uploads(job.output)
    write_pts(job.output, job.info.frames)
    write_provenance(job.output, _provenance(job, records, digest))
    ledger.prune({s.key for s in job.segments} | {state for s in job.plan for state in s.gives})
    return warnings


def _provenance(job: Job, records: Sequence[SegmentRecord], digest: str) -> dict[str, Any]:
    settings = asdict(job.settings)
    references = [
        {"shot": a.shot, "frame": r.frame, "file": r.url, "sha256": r.digest, "borrowed": a.borrowed[k] if a.borrowed else None,
         "guessed": a.guessed}
        for a in job.assignments
        for k, r in enumerate(a.sources)
    ]  # fmt: skip
    data = provenance(
        source_url=job.settings.source, source_sha256=job.source_digest, output=job.output, output_sha256=digest,
        profile=job.settings.profile, method=job.settings.method, method_digest=job.method_digest, settings=settings,
        weights=getattr(create(job.settings.method, **job.settings.options), "weights_digest", None),
        references=references, shots=[s.span for s in job.shots.shots], guessed={a.shot for a in job.assignments if a.guessed},
        kinds={number: character.kind.value for number, character in job.characters.items()}, damaged=job.info.damaged,
        records=records, started=job.started, ended=datetime.now(UTC),
    )  # fmt: skip
    return data | {"warnings": list(job.warnings)}


def verify_output(out: str, source: str) -> tuple[Comparison, list[str]]:
    """Compare an output with its source: every frame, PTS, luma sample and audio packet; and with its own ledger and checksum.

    Returns:
        The comparison and all problems, one line each (empty = the output is what it claims to be).
    """
    output = Output(files.absolute(out))
    data = files.get_bytes(output.report_url("provenance.json"))
    comparison = compare(out, source, profile_for(out), damaged_frames(json.loads(data)) if data else ())
    problems = list(comparison.problems)
    if data is None:
        problems.append(f"{out}: no ledger beside it ({output.ledger_url}), so its making cannot be proven")
        return comparison, problems
    told = json.loads(data)
    if content_digest(out) != told["output"]["sha256"]:
        problems.append(f"{out}: its bytes are not those that were delivered (sha256 differs)")
    if content_digest(source) != told["source"]["sha256"]:
        problems.append(f"{source}: not the film this output was made from (sha256 differs)")
    ledger, frames, wanted = Ledger(output.ledger_url), 0, len(probe(source).frames)
    for record in ledger.records():
        frames += record.frames
        if not ledger.check(record):
            problems.append(f"{output.ledger_url}: segment at frame {record.span.first} is damaged or gone")
    if frames != wanted:
        problems.append(f"{output.ledger_url}: the ledger accounts for {frames} frames, the film has {wanted}")
    return comparison, problems
