"""A night of mishaps: ``python -m tests.faults.chaos --minutes 4 --seed 1``.

The services of ``deploy/compose.yaml`` run as plain processes; the nightly deployment colours films from S3 to S3 on two Ray nodes.
Meanwhile decoders, matchers, propagators, writers, readers, whole nodes, the flow's own process and the Prefect worker are killed, and
the S3 server is frozen or killed, at random. Whoever watches the night does no more than an automation would: a service that ended is
started again, a run whose process is gone is called crashed. At the end everything is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import secrets
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import psutil

from deploy.services import running
from deploy.topology import Topology, topology
from dvcp.media.probe import probe
from dvcp.media.reader import FrameReader
from dvcp.runtime.job import verify_output
from dvcp.store import files
from dvcp.store.ledger import Ledger
from dvcp.store.output import Output
from dvcp.timing import Span
from pipelines.cluster_demo import BUCKET, DEPLOYMENT, acting_as
from tests.films import make_film, small_weights

ACTORS = ("Decoder", "Matcher", "Propagator", "Writer", "_Reader")
KINDS = (*ACTORS, "node", "flow", "worker", "store frozen", "store killed")
#: how often each kind is drawn
WEIGHTS = (4, 4, 4, 4, 2, 4, 3, 3, 3, 3)
LANES = 2
SOURCES, STILLS = f"{BUCKET}/reels/", f"{BUCKET}/stills/"
#: those that take many processes along, and the seconds from one to the next
BIG, REST_S = ("node", "flow", "worker", "store killed"), 60
#: seconds that a run may have neither a process nor an end
PATIENCE_S = 15
_NODES = ("ray-worker-1", "ray-worker-2")


@dataclass
class Night:
    """What happened.

    Attributes:
        kills: by kind.
        runs: flow runs it took.
        seconds: from the first schedule to the last run's end.
        again: segments begun again because a process died, as the runs' logs tell.
        rewritten: ledger records that were there, and then others of the same key: not those put again as they were, because the answer
            to the first put was lost.
        broken: why the mishaps ended early, "" when they did not.
    """

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    seconds: float = 0.0
    again: int = 0
    rewritten: set[str] = field(default_factory=set)
    broken: str = ""


class Watchman:
    """Starts again what ended, as the restart policy of compose does; knows every process."""

    def __init__(self, up: Topology, logs: Path, stack: ExitStack) -> None:
        self.up, self._logs, self._stack, self._count = up, logs, stack, 0
        self.lock = threading.RLock()

    def restart(self, name: str) -> None:
        """Kill all of a service and start it anew."""
        with self.lock:
            self._count += 1
            one = self.up.instances[name]
            self.up.services[name].end(0)
            folder, log = next(iter(one.folders.values())), self._logs / f"{name}.{self._count}.log"
            again = running(name, self.up.command(one), self.up.environment(name), folder, log, 0 if name == "store" else 10)
            self.up.services[name] = self._stack.enter_context(again)

    def tend(self) -> None:
        """Start again what ended by itself."""
        with self.lock:
            for name, service in list(self.up.services.items()):
                if name != "setup" and service.process.poll() is not None:
                    self.restart(name)

    def find(self, service: str, *words: str) -> list[int]:
        """Processes of a service whose command line has one of ``words``."""
        found = []
        with self.lock:
            pids = self.up.services[service].processes()
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                line = " ".join(psutil.Process(pid).cmdline())
                if any(word in line for word in words):
                    found.append(pid)
        return found

    def flow(self) -> list[int]:
        """The flow's own process, when there is one."""
        return self.find("prefect-worker", "prefect.engine", "_workspace_")


def strike(watch: Watchman, kind: str, chance: random.Random) -> bool:
    """One mishap; False when there was nothing to hit."""
    if kind in ACTORS:
        pids = [pid for node in _NODES for pid in watch.find(node, f"ray::{kind}")]
    elif kind == "node":
        watch.restart(chance.choice(_NODES))
        return True
    elif kind == "flow":
        pids = watch.flow()
    elif kind == "worker":
        pids = watch.find("prefect-worker", "worker start")
    elif kind == "store frozen":
        pids = watch.find("store", "weed")
        for number, rest in ((signal.SIGSTOP, chance.uniform(3, 6)), (signal.SIGCONT, 0)):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(rest)
        return bool(pids)
    else:
        watch.up.services["store"].end(0)
        time.sleep(chance.uniform(1, 3))
        watch.restart("store")
        return True
    if not pids:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(pids), signal.SIGKILL)
    return True


def trouble(watch: Watchman, night: Night, seconds: float, every: float, seed: int, ended: threading.Event) -> None:
    """:func:`mishaps`, in a thread: a night that went on calm must not pass for a rough one."""
    try:
        mishaps(watch, night, seconds, every, seed, ended)
    except Exception as error:
        night.broken = f"{type(error).__name__}: {error}"


def mishaps(watch: Watchman, night: Night, seconds: float, every: float, seed: int, ended: threading.Event) -> None:
    """Strike at random for so long, or until everything has ended."""
    chance, until = random.Random(seed), time.monotonic() + seconds
    rested = time.monotonic() + REST_S
    while time.monotonic() < until and not ended.wait(chance.expovariate(1 / every)):
        kind = chance.choices(KINDS, WEIGHTS)[0]
        # Until actors are there again every other mishap misses: without rest the night would be one of nodes alone.
        if (kind not in BIG or time.monotonic() > rested) and strike(watch, kind, chance):
            night.kills[kind] += 1
            print(f"{datetime.now():%H:%M:%S}  killed: {kind}", flush=True)
            if kind in BIG:
                rested = time.monotonic() + REST_S


def records(out: str) -> dict[str, str]:
    """Tag of every ledger record under ``out``, by name; a record holds the time of its making."""
    store = fsspec.filesystem("s3", use_listings_cache=False)
    with contextlib.suppress(Exception):  # the store is away now and then
        return {name: str(about["ETag"]) for name, about in store.find(out, detail=True).items() if "/ledger/" in name}
    return {}


def work(watch: Watchman, out: str, wanted: Mapping[str, Any], night: Night, patience_s: float) -> None:
    """Schedule the deployment until a run of it completes."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException
    from prefect.states import Crashed, Scheduled

    parameters = {"parameters": {"sources": SOURCES, "references": STILLS, "out": out, "address": "auto", "attempts": 100, **wanted}}
    began, seen = time.monotonic(), dict[str, str]()
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
        run, well = None, time.monotonic()
        while True:
            assert time.monotonic() - began < patience_s, f"not done after {patience_s} s"
            watch.tend()
            for name, tag in records(out).items():
                if seen.setdefault(name, tag) != tag:
                    night.rewritten.add(name)
            time.sleep(1)
            with contextlib.suppress(httpx.HTTPError, PrefectException):
                if run is None:
                    now = Scheduled(scheduled_time=datetime.now(UTC))
                    run, well = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=now), time.monotonic()
                    night.runs += 1
                state = client.read_flow_run(run.id).state
                assert state is not None
                if state.is_completed():
                    break
                if state.is_scheduled() or (not state.is_final() and watch.flow()):
                    well = time.monotonic()
                elif time.monotonic() - well > PATIENCE_S:
                    print(f"{datetime.now():%H:%M:%S}  run {night.runs}: {state.name} {state.message or ''}"[:300], flush=True)
                    if state.is_final():
                        run = None
                    else:
                        # The server's automation starts it again; it would find out by itself after three lost heartbeats.
                        client.set_flow_run_state(run.id, Crashed(message="its process is gone"), force=True)
                        well = time.monotonic()
    night.seconds = time.monotonic() - began


def samples(url: str) -> Iterator[Any]:
    """All planes of a film, frame by frame."""
    info = probe(url)
    with FrameReader(info) as reader:
        for frame in range(len(info.frames)):
            yield reader.planes(Span(frame, frame + 1))


def differing(a: str, b: str) -> int:
    """Samples in which two films differ."""
    pairs = zip(samples(a), samples(b), strict=True)
    return sum(int((one != other).sum()) for left, right in pairs for one, other in zip(left, right, strict=True))


def leftovers(out: str, films: list[str]) -> list[str]:
    """What should not be there: segments without a record or of one key twice, unfinished uploads, anything temporary."""
    store, wrong = fsspec.filesystem("s3", use_listings_cache=False), list[str]()
    for film in films:
        ledger = Ledger(Output.at(out, film, "_colour.mkv").ledger_url)
        wanted = {record.file.rpartition("/")[2] for record in ledger.records()}
        wrong += [f"segment {name}" for name in set(files.list_names(files.join(ledger.url, "segments"))) ^ wanted]
        keys = Counter(name.partition("-")[0] for name in wanted)
        wrong += [f"key {key} {count} times" for key, count in keys.items() if count > 1]
    wrong += [f"object {name}" for name in store.find(out) if "part" in name.rpartition("/")[2] or "scratch" in name]
    wrong += [f"upload {upload['Key']}" for upload in store.list_multipart_uploads(BUCKET.removeprefix("s3://"))]
    return wrong


def main() -> int:
    """Run it and print the table; exit code 0 when everything is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4, help="of mishaps (default 4)")
    parser.add_argument("--every", type=float, default=5, help="mean seconds between two (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--films", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("chaos_out"), help="for films and logs")
    given = parser.parse_args()
    if (given.folder / "films0").exists():
        parser.error(f"{given.folder} holds another run: remove it, or name another --folder")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    logs = given.folder.absolute() / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    lengths, painted = (40, 30, 20), ((0, 39), (12,), (0,))
    made = [make_film(given.folder / f"films{k}", f"reel{k}", lengths, painted=painted) for k in range(given.films)]
    weights = small_weights(given.folder / "w.safetensors")
    variables = {
        "S3_ACCESS_KEY": "chaos", "RAY_HEAD_CPUS": "0", "RAY_WORKERS": "2", "RAY_WORKER_CPUS": "2", "RAY_OBJECT_STORE": "200000000",
        "PREFECT_UI": "false", "PREFECT_AUTH": f"chaos:{secrets.token_hex(16)}",
        **{name: secrets.token_hex(24) for name in ("S3_SECRET_KEY", "DATABASE_PASSWORD", "RAY_AUTH_TOKEN")},
    }  # fmt: skip
    pools = {"propagators": LANES, "matchers": LANES}
    wanted = {"method": "dvcp", "options": {"weights": f"{BUCKET}/w.safetensors"}, "segment_frames": 8, **pools}
    calm, rough = Night(), Night()
    with ExitStack() as stack, topology(variables, logs) as up, acting_as(up, "prefect-worker"):
        watch = Watchman(up, logs, stack)
        files.put_file(weights, f"{BUCKET}/w.safetensors")
        for film in made:
            files.put_file(film.gray, SOURCES + film.gray.name)
            for still in film.stills.iterdir():
                files.put_file(still, STILLS + still.name)
        films = [SOURCES + film.gray.name for film in made]
        work(watch, f"{BUCKET}/calm/", wanted, calm, 900)
        print(f"undisturbed: {calm.seconds:.0f} s, {len(records(f'{BUCKET}/calm/'))} segments", flush=True)
        ended = threading.Event()
        thread = threading.Thread(target=trouble, args=(watch, rough, given.minutes * 60, given.every, given.seed, ended))
        thread.start()
        try:
            work(watch, f"{BUCKET}/rough/", wanted, rough, given.minutes * 60 + 1800)
        finally:
            ended.set()
            thread.join()
        watch.tend()
        wrong = leftovers(f"{BUCKET}/rough/", films)
        outs = {name: [Output.at(f"{BUCKET}/{name}/", film, "_colour.mkv") for film in films] for name in ("calm", "rough")}
        differ = sum(differing(a.file_url, b.file_url) for a, b in zip(*outs.values(), strict=True))
        keys = {name: [{r.key for r in Ledger(o.ledger_url).records()} for o in of] for name, of in outs.items()}
        for film, out in zip(films, outs["rough"], strict=True):
            wrong += verify_output(out.file_url, film)[1]
        deadline = time.monotonic() + 20
        while (orphans := [p for n in _NODES for p in watch.find(n, *(f"ray::{a}" for a in ACTORS))]) and time.monotonic() < deadline:
            time.sleep(0.5)
        said = "".join(log.read_text(errors="replace") for log in logs.glob("prefect-worker*.log"))
        rough.again = said.count("a process died, the segment starts again")
    figures = {
        "mishaps": dict(rough.kills), "runs": rough.runs, "segments": sum(map(len, keys["rough"])), "begun again": rough.again,
        "committed twice": sorted(rough.rewritten), "same segments": keys["calm"] == keys["rough"], "differing samples": differ,
        "left over": wrong, "orphans": len(orphans), "broken off": rough.broken,
        "seconds": round(rough.seconds), "undisturbed seconds": round(calm.seconds),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    (given.folder / "chaos.json").write_text(json.dumps(figures, indent=1))
    # At most one segment for each process killed, and one a lane for what takes several along.
    allowed = sum(count * (LANES if kind in BIG else 1) for kind, count in rough.kills.items())
    good = keys["calm"] == keys["rough"] and not (differ or wrong or orphans or rough.rewritten or rough.broken) and rough.again <= allowed
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
