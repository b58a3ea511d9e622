"""Training intermediates at scale: the streaming runtime rolls colour out along whole shots, and every frame's proposals are kept."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dvcp.errors import ClusterLost, ConfigError, DvcpError, StoreError
from dvcp.media.probe import VideoInfo, probe_colour
from dvcp.media.source import content_digest, stem
from dvcp.methods import create
from dvcp.methods.base import Trained
from dvcp.runtime.board import Board, Shown
from dvcp.runtime.driver import Driver, driving
from dvcp.runtime.job import windows_ahead
from dvcp.runtime.plan import ENGINE, Planner, ReferenceSource, Segment, missing
from dvcp.runtime.record import Recorder
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.work import Progress, Work
from dvcp.shots.detect import detect_shots
from dvcp.shots.timeline import ShotList, from_cuts, read_shots, write_shots
from dvcp.store import files
from dvcp.store.intermediates import SCHEMA_VERSION, Shard, write_manifest
from dvcp.store.ledger import Ledger, SegmentRecord
from dvcp.store.secrets import Secrets, redact

log = logging.getLogger(__name__)
#: films open at a time: each is a few MB here, and the lanes must never wait for the next
FILMS = 8


@dataclass(frozen=True)
class PrecomputeSettings:
    """What to compute.

    Attributes:
        out: URL of the dataset. Run again with the same settings to go on, or to add films.
        method: "dvcp", or "paper" for Deep Video Color Propagation's own networks.
        options: of the method, e.g. ``{"feedback": "local", "working_height": 240}``.
        rollout: a longer shot counts as several of this many frames or fewer, each with its own reference, so no frame is further from it.
        seed: of the choice of references, one frame a shot, any frame.
        pools: actors.
        segment_frames: most frames of a shard; at most so many are computed again after a crash.
        memory_mb: bound on decoded pictures waiting to be propagated, for each propagator.
    """

    out: str
    method: str = "dvcp"
    options: dict[str, Any] = field(default_factory=dict)
    rollout: int = 100
    seed: int = 1
    pools: PoolSettings = field(default_factory=PoolSettings)
    segment_frames: int = 120
    memory_mb: int = 512

    def __post_init__(self) -> None:
        if self.method not in ("dvcp", "paper"):
            raise ConfigError(f"method {self.method} has no fusion to train", hint="dvcp or paper")
        if self.rollout < 2:
            raise ConfigError(f"a roll-out of {self.rollout} frames reaches nothing", hint="--rollout 2 or more")


@dataclass(frozen=True, eq=False)
class Film:
    """A film ready to be computed."""

    info: VideoInfo
    digest: str
    plan: tuple[Segment, ...]
    window: int


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one film.

    Attributes:
        film: None when it could not even be planned.
        frames: computed now.
        error: one line; "" when the dataset has all of it.
    """

    source: str
    film: Film | None = None
    frames: int = 0
    error: str = ""


def open_dataset(settings: PrecomputeSettings) -> dict[str, Any]:
    """Say in ``dataset.json`` what the dataset is made with, or check that it is made with the same.

    Raises:
        StoreError: it was begun with other settings, or cannot be written.
        WeightsError: the method's weights cannot be loaded.
    """
    method = create(settings.method, **settings.options)
    assert isinstance(method, Trained)
    method.load()
    made = {
        "schema": SCHEMA_VERSION, "engine": ENGINE, "method": settings.method, "method_digest": method.digest(),
        "rollout": settings.rollout, "seed": settings.seed, "segment_frames": settings.segment_frames, "window": method.window.frames,
    }  # fmt: skip
    url = files.join(files.absolute(settings.out), "dataset.json")
    # Told and not compared: what the options decide is in the method's digest, and a weights file may be called by another path.
    told = made | {"options": settings.options}
    if not files.put_bytes(json.dumps(told, indent=1).encode(), url, exclusive=True):
        found = json.loads(files.get_bytes(url) or b"{}")
        other = [f"{name} {found.get(name)}, not {made[name]}" for name in made if found.get(name) != made[name]]
        if other:
            what = "; ".join(other).replace("method_digest", "weights, options or device (digest)")
            raise StoreError(f"was begun with {what}", file=settings.out, hint="choose another --out or remove it")
    return told


def prepare(settings: PrecomputeSettings, source: str, made: dict[str, Any]) -> Film:
    """Probe a film, find its shots and choose their references.

    Raises:
        MediaError: it cannot be read, or has no colour to learn from.
    """
    info = probe_colour(source)
    digest = content_digest(source)
    kept = files.join(files.absolute(settings.out), "shots", f"{digest[:16]}.json")
    if files.exists(kept):
        shots = read_shots(kept, len(info.frames), info.average_rate, source)
    else:
        shots = detect_shots(info)
        write_shots(shots, kept)
    pieces = _pieces(shots, settings.rollout)
    references = {}
    for piece in pieces.shots:
        seed = hashlib.sha256(f"{settings.seed}:{digest}:{piece.span.first}".encode()).digest()
        frame = piece.span.first + int(np.random.default_rng(list(seed)).integers(len(piece.span)))
        references[piece.number] = (ReferenceSource(info.url, digest, frame),)
    profile = f"intermediates-{SCHEMA_VERSION}"
    planner = Planner(info, digest, made["method_digest"], made["window"], profile, settings.segment_frames)
    # A segment that only holds its own reference has nothing to learn from.
    return Film(info, digest, tuple(s for s in planner.plan(pieces, references) if s.legs), planner.window)


def _pieces(shots: ShotList, rollout: int) -> ShotList:
    """Shots of at most ``rollout`` frames each, of nearly equal length within a shot; every piece has two frames or more where it can."""
    cuts = []
    for shot in shots.shots:
        count = -(-len(shot.span) // rollout)
        cuts += [shot.span.first + len(shot.span) * k // count for k in range(count)]
    return from_cuts(shots.source, shots.rate, shots.frames, cuts[1:])


def compute_film(
    settings: PrecomputeSettings,
    made: dict[str, Any],
    source: str,
    driver: Driver,
    board: Board,
    report: Callable[[str, int, int], None],
) -> Outcome:
    """Compute what the dataset lacks of one film. What a person can mend stays with it: finished shards stay, and the outcome says why.

    Args:
        driver: its actors, which :class:`dvcp.runtime.record.Recorder` ends.
        board: where those look who want to know how the run stands.
        report: see :func:`precompute`.
    """
    with board.film(source, f"{settings.out}/") as shown:
        outcome = _compute(settings, made, source, driver, shown, report)
        if outcome.error:
            shown.failed()
        return outcome


def _compute(
    settings: PrecomputeSettings,
    made: dict[str, Any],
    source: str,
    driver: Driver,
    shown: Shown,
    report: Callable[[str, int, int], None],
) -> Outcome:
    film, name, records = None, stem(source), list[SegmentRecord]()

    def progress(segment: Segment, item: Progress | SegmentRecord | None) -> None:
        shown.report(segment, item)
        if isinstance(item, Progress):
            report(name, item.frames, 0)
        elif item is not None:
            records.append(item)

    error = ""
    try:
        film = prepare(settings, source, made)
        todo = missing(film.plan, Ledger(settings.out))
        shown.expects(sum(segment.frames for segment in film.plan), todo)
        report(name, 0, sum(len(window) for segment in todo for window in segment.legs[0].windows))
        ahead = windows_ahead(film.info, film.window, min(settings.memory_mb, driver.open_mb))
        options, secrets = tuple(sorted(settings.options.items())), Secrets.of_environment()
        work = Work(film.info, settings.method, options, files.absolute(settings.out), ahead, secrets=secrets)
        if todo:
            # One damaged frame costs its segment, and not the rest of the reel.
            driver.run(work, todo, progress, past_damage=True)
        log.info("%s: %d shards, %d of them computed now", name, len(film.plan), len(todo))
    except ClusterLost:
        raise  # nothing is wrong with the film
    except DvcpError as problem:
        error = redact(str(problem))
    return Outcome(source, film, sum(r.frames for r in records), error)


def broken(source: str, problem: BaseException) -> Outcome:
    """The outcome of a film that something unforeseen stopped: a night of films must not be lost to what one makes a library do."""
    return Outcome(source, error=redact(f"{source}: {type(problem).__name__}: {' '.join(str(problem).split())}"))


def finish(settings: PrecomputeSettings, made: dict[str, Any], outcomes: Sequence[Outcome]) -> list[Shard]:
    """Write the manifest: the shards of these films, and of every other film it already listed."""
    url = files.absolute(settings.out)
    films = {o.film.digest: o.film for o in outcomes if o.film}
    old = [Shard(**s) for s in json.loads(files.get_bytes(files.join(url, "manifest.json")) or b"{}").get("shards", [])]
    shards = [s for s in old if s.source not in films]
    records = {r.key: r for r in Ledger(url).records()}
    for film in films.values():
        done = [records[s.key] for s in film.plan if s.key in records]
        shards += [Shard(r.file, r.frames, r.bytes, r.sha256, stem(film.info.url), film.digest, r.span.first, r.span.stop) for r in done]
        if len(done) == len(film.plan):
            Ledger(url).remove_states({state for segment in film.plan for state in segment.gives})
    shards.sort(key=lambda s: (s.video, s.source, s.first))
    write_manifest(url, made, shards)
    return shards


def precompute(
    settings: PrecomputeSettings, sources: Sequence[str], report: Callable[[str, int, int], None]
) -> tuple[list[Shard], list[str]]:
    """Compute a dataset from films; what goes wrong with one film stays with it.

    Args:
        report: called with a film's name, the frames finished since the last call and, at its first call for a film, the frames to do.

    Returns:
        All shards of the dataset and one line for each film that failed.

    Raises:
        DvcpError: of the dataset itself: other settings, weights, storage, cluster.
    """
    made = open_dataset(settings)
    with driving(settings.pools, Recorder) as driver, Board(driver.snapshot) as board:
        board.expect(len(sources))

        def one(source: str) -> Outcome:
            try:
                return compute_film(settings, made, source, driver, board, report)
            except ClusterLost:
                raise
            except Exception as problem:
                log.debug("%s", source, exc_info=True)
                return broken(source, problem)

        pool = ThreadPoolExecutor(min(len(sources), FILMS))
        try:
            outcomes = list(pool.map(one, sources))
        except BaseException:
            # Ctrl-C: the films under way end when their actors are killed on the way out, not hours later.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        pool.shutdown()
    return finish(settings, made, outcomes), [o.error for o in outcomes if o.error]
