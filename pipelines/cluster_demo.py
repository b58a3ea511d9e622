"""``make cluster-demo``: a night at the archive, on one machine with real parts.

An S3 server, a Prefect server, Ray nodes and a Prefect worker are started from ``deploy/compose.yaml`` as plain processes. Six real clips,
made gray, with one painted still each, lie in the store; the deployment ``nightly-colorize`` is scheduled, the worker picks it up, the
cluster colours the clips, every output is verified against its source. Then the same again: nothing is computed.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

from deploy.services import ServiceError
from deploy.topology import Topology, topology
from dvcp.errors import DvcpError
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import MASTER
from dvcp.media.reader import FrameReader
from dvcp.media.writer import SegmentWriter
from dvcp.runtime.job import verify_output
from dvcp.shots.detect import detect_shots
from dvcp.store import files
from dvcp.store.ledger import Ledger
from dvcp.store.output import Output
from dvcp.store.secrets import drop_overrides, forget_stores
from dvcp.timing import Span
from pipelines.demo import footage, paint

CLIPS, FRAMES = 6, 24
BUCKET = "s3://dvcp"
SOURCES, STILLS, OUT = f"{BUCKET}/reels/", f"{BUCKET}/stills/", f"{BUCKET}/colour/"
DEPLOYMENT = "colorize archive/nightly-colorize"
PATIENCE_S = 600
Say = Callable[[str], None]


class DemoFailed(Exception):
    """What the demonstration set out to show does not hold."""


@dataclass(frozen=True)
class Made:
    """One film of the archive after a run.

    Attributes:
        film, out: URLs.
        frames: of all its segments.
        computed, reused: segments made in this run, and before it.
        seconds: of actors' time on all its segments.
    """

    film: str
    out: str
    frames: int
    computed: int
    reused: int
    seconds: float


def main() -> None:
    """Run it; exit code 0 when every output is verified and the second run computed nothing."""
    parser = argparse.ArgumentParser(prog="cluster_demo", description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", default="demo_out/cluster", help="for clips and logs")
    parser.add_argument("--method", default="dvcp")
    parser.add_argument("--working-height", type=int, default=136, help="of the method dvcp")
    given = parser.parse_args()
    # A hang-up ends services like any other end does: through the blocks they were started in.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    options = {"working_height": given.working_height} if given.method == "dvcp" else {}
    try:
        run(Path(given.folder), {"method": given.method, "options": options})
    except (DemoFailed, ServiceError, DvcpError) as error:
        raise SystemExit(f"cluster-demo failed: {error}") from error


def run(folder: Path, wanted: Mapping[str, Any], limit: int = CLIPS) -> tuple[list[Made], list[Made]]:
    """The whole demonstration, with ``wanted`` parameters of the flow, on the first ``limit`` clips; what the two runs made.

    Raises:
        DemoFailed: an output is not what it should be, or the second run computed something.
        ServiceError: a service did not start.
    """
    logs, began = folder / "logs", time.monotonic()
    logs.mkdir(parents=True, exist_ok=True)

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    clips = make_clips(folder / "clips", limit)
    say(f"{len(clips)} gray clips of {footage().name}, one painted still each, in {folder / 'clips'}")
    # Two nodes that compute; a third, without processors, is where the flow runs.
    variables = {
        "S3_ACCESS_KEY": "demo", "RAY_HEAD_CPUS": "1", "RAY_WORKERS": "1", "RAY_WORKER_CPUS": "1", "RAY_OBJECT_STORE": "200000000",
        "PREFECT_UI": "false", "PREFECT_AUTH": f"demo:{secrets.token_hex(16)}",
        **{name: secrets.token_hex(24) for name in ("S3_SECRET_KEY", "DATABASE_PASSWORD", "RAY_AUTH_TOKEN")},
    }  # fmt: skip
    with topology(variables, logs.resolve(), say) as up, acting_as(up, "prefect-worker"):
        say("everything is up; logs in " + str(logs))
        put(clips, folder / "clips" / "painted")
        first = night(up, wanted, say)
        table(first, say)
        verify(first, say)
        before = objects()
        again = night(up, wanted, say)
        table(again, say)
        changed = sorted(name for name, tag in objects().items() if before.get(name) != tag)
        if any(made.computed for made in again) or changed:
            raise DemoFailed(f"the second run computed {sum(m.computed for m in again)} segments and changed {changed or 'no object'}")
        say(f"the second run computed nothing; {len(before)} objects of outputs and ledgers are as they were, by tag and time")
    say("everything has ended")
    return first, again


def make_clips(folder: Path, limit: int) -> list[Path]:
    """Gray clips of at most :data:`FRAMES` frames, one a shot of the footage, and a painted still of each in ``folder/painted``."""
    film, made = probe(str(footage())), []
    for name in ("gray", "truth"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for shot in detect_shots(film).shots[:limit]:
        first = (shot.span.first + shot.span.stop - FRAMES) // 2
        span = Span(max(shot.span.first, first), min(shot.span.stop, max(shot.span.first, first) + FRAMES))
        gray, truth = (folder / name / f"bikes_{shot.number}.mkv" for name in ("gray", "truth"))
        with FrameReader(film) as reader:
            luma, chroma = reader.planes(span)
        write(film, truth, luma, chroma)
        write(film, gray, luma, np.full_like(chroma, 1 << (film.colour.depth - 1)))
        paint(probe(str(gray)), probe(str(truth)), folder / "painted")
        made.append(gray)
    return made


def write(film: VideoInfo, path: Path, luma: Any, chroma: Any) -> None:
    """A clip of native samples ``[T, H, W]`` and ``[T, 2, Hc, Wc]`` of the film."""
    with SegmentWriter(str(path), film, MASTER) as out:
        out.write(luma, chroma)


@contextmanager
def acting_as(up: Topology, name: str) -> Iterator[None]:
    """For the block this process reaches the other services as the service ``name`` does."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    theirs, before = up.environment(name), dict(os.environ)
    drop_overrides()
    os.environ.update({key: value for key, value in theirs.items() if key.startswith("AWS_")})
    forget_stores()
    try:
        updates = {PREFECT_API_URL: theirs["PREFECT_API_URL"], PREFECT_API_AUTH_STRING: theirs["PREFECT_API_AUTH_STRING"]}
        with temporary_settings(updates=updates):
            yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        forget_stores()


def put(clips: Sequence[Path], painted: Path) -> None:
    """Put clips, stills and shot lists into the store."""
    for clip in clips:
        files.put_file(clip, SOURCES + clip.name)
    for still in painted.iterdir():
        files.put_file(still, STILLS + still.name)


def night(up: Topology, wanted: Mapping[str, Any], say: Say) -> list[Made]:
    """Schedule the deployment for now, wait for the worker to pick it up and for the run to end; what became of every film.

    Raises:
        DemoFailed: the run did not complete, in its state's words and with the end of the worker's log.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    # For each film at once there is a process that reads, and a small machine has room for few.
    parameters = {"parameters": {"sources": SOURCES, "references": STILLS, "out": OUT, "address": "auto", "films_at_once": 2, **wanted}}
    before, now = set(objects()), datetime.now(UTC)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=Scheduled(scheduled_time=now))
        say(f"{DEPLOYMENT}: run {run.name} is scheduled")
        told, deadline = "", time.monotonic() + PATIENCE_S
        while True:
            run = client.read_flow_run(run.id)
            assert run.state is not None
            done = objects()
            segments, films = (sum(part in name for name in done) for part in ("/ledger/", "_colour.mkv"))
            if (line := f"{run.name}: {run.state.name}, {segments} segments in the ledgers, {films} films out") != told:
                say(told := line)
            if run.state.is_final():
                break
            if time.monotonic() > deadline:
                raise DemoFailed(f"{run.name} was not done after {PATIENCE_S} s: {up.services['prefect-worker'].tail()}")
            time.sleep(1)
    if not run.state.is_completed():
        raise DemoFailed(f"{run.name} ended as {run.state.name}: {run.state.message}: {up.services['prefect-worker'].tail(6000)}")
    assert run.start_time and run.end_time
    waited, took = run.start_time.timestamp() - now.timestamp(), run.end_time.timestamp() - run.start_time.timestamp()
    say(f"{run.name}: {run.state.message}; picked up after {waited:.0f} s, done in {took:.0f} s")
    return [made(film, before) for film in files.list_names(SOURCES)]


def made(name: str, before: Set[str]) -> Made:
    """What the ledger of a film holds, ``before`` being the names of objects that were there before the run."""
    output = Output.at(OUT, SOURCES + name, f"_colour{MASTER.suffix}")
    records = Ledger(output.ledger_url).records()
    known = [r for r in records if files.join(output.ledger_url, "ledger", f"{r.key}.json").removeprefix("s3://") in before]
    return Made(
        SOURCES + name, output.file_url, sum(r.frames for r in records), len(records) - len(known), len(known),
        sum(r.seconds for r in records),
    )  # fmt: skip


def objects() -> dict[str, tuple[str, str]]:
    """(tag, time) of every object of outputs and ledgers, by name; not of what a run may write anew: reports and the catalogue."""
    store = fsspec.filesystem("s3", use_listings_cache=False)
    try:
        found = store.find(OUT, detail=True)
    except FileNotFoundError:
        return {}
    return {
        name: (about["ETag"], str(about["LastModified"]))
        for name, about in found.items()
        if name.endswith(MASTER.suffix) or "/ledger/" in name
    }


def table(films: Sequence[Made], say: Say) -> None:
    """Print a line for every film."""
    say(f"{'film':24} {'frames':>6} {'computed':>8} {'reused':>6} {'seconds':>7}")
    for film in films:
        say(f"{film.film.rpartition('/')[2]:24} {film.frames:6} {film.computed:8} {film.reused:6} {film.seconds:7.1f}")


def verify(films: Sequence[Made], say: Say) -> None:
    """Compare every output in the store with its source in the store. Raises DemoFailed when one is not what it should be."""
    for film in films:
        comparison, problems = verify_output(film.out, film.film)
        if problems or not film.computed:
            raise DemoFailed(f"{film.out}: {problems[0] if problems else 'nothing was computed for it'}")
        say(f"{film.out.rpartition('/')[2]:24} verified: {comparison.frames} frames, every luma sample and PTS is the source's")


if __name__ == "__main__":
    main()
