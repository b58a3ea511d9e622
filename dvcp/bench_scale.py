"""What a cluster costs: throughput against the number of nodes, the driver's share, and whether memory grows with the film.

    python -m dvcp.bench_scale nodes    frames a second on 1, 2, 4 and 8 nodes with one logical GPU each. The accelerator is SIMULATED
                                        (dvcp/methods/simulated.py sleeps); decoding, traffic, encoding and the ledger are real.
    python -m dvcp.bench_scale driver   the driver's CPU and memory for every 1,000 segments.
    python -m dvcp.bench_scale hours    memory of every process over one long film, by the tenth.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.cluster_utils import Cluster

from dvcp.bench import RATE, make_film, paint
from dvcp.runtime.driver import Driver, driving
from dvcp.runtime.job import Job, JobSettings, deliver, prepare, propagate, verify_output
from dvcp.runtime.settings import PoolSettings

SIMULATED = "dvcp.methods.simulated:Simulated"
#: lines and columns of the films: small, since the question is what surrounds the networks
SIZE = (48, 64)


def film_of(folder: Path, name: str, frames: int, shots: int, rate: int) -> tuple[Path, Path]:
    """A film of so many equal shots, and the folder of its stills."""
    film, stills = folder / f"{name}.mp4", folder / f"{name}_painted"
    stills.mkdir()
    make_film(film, frames, SIZE, rate=rate)
    paint(stills, film, shots)
    return film, stills


def planned(folder: Path, name: str, frames: int, shots: int, method: str, segment_frames: int = 240, rate: int = RATE) -> Job:
    """A job, ready to be coloured."""
    film, stills = film_of(folder, name, frames, shots, rate)
    settings = JobSettings(str(film), str(stills), str(folder / f"{name}.mkv"), method, segment_frames=segment_frames)
    return prepare(settings)


def nodes(folder: Path, counts: Sequence[int], seconds: int) -> list[dict[str, Any]]:
    """Throughput on so many nodes with one logical GPU each; each GPU gets two shots of ``seconds`` simulated seconds."""
    rows: list[dict[str, Any]] = []
    length = max(8, seconds * 1000 // 400 * 8)
    for count in counts:
        job = planned(folder, f"nodes{count}", 2 * count * length, 2 * count, SIMULATED, segment_frames=length)
        cluster = Cluster()
        try:
            for _ in range(count):
                cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=100 << 20, include_dashboard=False)
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            pools = PoolSettings(cluster.address, propagator_gpus=0.75, matcher_gpus=0.25, threads=1)
            with driving(pools) as driver:
                _all_up(driver, count)
                began, cpu = time.monotonic(), psutil.cpu_times()
                records = propagate(job, lambda *_: None, driver)
                took, after = time.monotonic() - began, psutil.cpu_times()
        finally:
            ray.shutdown()
            cluster.shutdown()
        frames = sum(record.frames for record in records)
        busy = (after.user + after.system - cpu.user - cpu.system) / took / (os.cpu_count() or 1)
        row = {"nodes": count, "frames": frames, "seconds": round(took, 2), "frames_per_s": round(frames / took, 2),
               "machine_busy": round(busy, 2)}  # fmt: skip
        row["of_linear"] = round(row["frames_per_s"] / count / (rows[0]["frames_per_s"] / rows[0]["nodes"]), 3) if rows else 1.0
        # What a GPU that never waits would do: the simulated sleep alone.
        row["of_the_sleep_alone"] = round(row["frames_per_s"] / count / 20, 3)
        rows.append(row)
        print(row, flush=True)
    return rows


def _all_up(driver: Driver, count: int, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while driver.snapshot()["lanes"][0] < count or driver.snapshot()["matchers"][0] < count:
        # More than the processors here have room for never come.
        assert time.monotonic() < end, f"{count} lanes and matchers did not come up: {driver.snapshot()}"
        time.sleep(0.2)


def driver_cost(folder: Path, segments: int) -> list[dict[str, Any]]:
    """CPU seconds and memory of the driver's process, after each quarter of a film of many short shots."""
    job, rows = planned(folder, "driver", segments * 8, segments, "copy"), list[dict[str, Any]]()
    me, done = psutil.Process(), 0
    with driving(PoolSettings(propagators=2, threads=1)) as driver:
        _all_up(driver, 2)
        start, cpu = time.monotonic(), time.process_time()

        def report(_segment: Any, item: Any) -> None:
            nonlocal done
            if hasattr(item, "identity"):
                done += 1
                if done % (segments // 4) == 0:
                    used, took = time.process_time() - cpu, time.monotonic() - start
                    rows.append({"segments": done, "seconds": round(took, 1), "cpu_s_per_1000": round(used / done * 1000, 2),
                                 "driver_mib": round(me.memory_info().rss / 2**20, 1)})  # fmt: skip
                    print(rows[-1], flush=True)

        propagate(job, report, driver)
    return rows


def hours(folder: Path, count: int, method: str, rate: int) -> list[dict[str, Any]]:
    """Memory of every kind of process over a film of so many hours at ``rate`` frames a second, tenth by tenth."""
    frames, rows = count * 3600 * rate, list[dict[str, Any]]()
    began = time.monotonic()
    job = planned(folder, "hours", frames, count * 36, method, rate=rate)
    planned_s = round(time.monotonic() - began)
    print({"hours": count, "rate": rate, "frames": frames, "segments": len(job.plan), "made_and_planned_s": planned_s}, flush=True)
    me, done, began = psutil.Process(), 0, time.monotonic()

    def look(at: str) -> None:
        sizes = {"driver": me.memory_info().rss}
        for child in me.children(recursive=True):
            try:
                words = child.cmdline()
            except psutil.Error:
                continue
            kind = next((k for k in ("Writer", "Propagator", "Decoder", "Matcher") if words and words[0].startswith(f"ray::{k}")), None)
            if kind:
                sizes[kind] = max(sizes.get(kind, 0), child.memory_info().rss)
        mib = {kind: round(size / 2**20) for kind, size in sizes.items()}
        rows.append({"at": at, "seconds": round(time.monotonic() - began)} | mib)
        print(rows[-1], flush=True)

    def report(_segment: Any, item: Any) -> None:
        nonlocal done
        if hasattr(item, "identity"):
            before, done = done * 10 // frames, done + item.frames
            if done * 10 // frames > before:
                look(f"{done * 10 // frames}/10")

    with driving(PoolSettings(threads=1)) as driver:
        _all_up(driver, 1)
        propagate(job, report, driver)
        print(driver.snapshot(), flush=True)
    deliver(job)
    _, problems = verify_output(job.output.file_url, job.settings.source)
    look("verified" if not problems else f"PROBLEMS {problems[0]}")
    return rows


def main() -> None:
    """Print the figures, one row a line, and with --out write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["nodes", "driver", "hours"])
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=int, default=16, help="simulated seconds of each of the two shots a node gets (default 16)")
    parser.add_argument("--segments", type=int, default=1000, help="of the driver's test (default 1000)")
    parser.add_argument("--hours", type=int, default=10, help="length of the long film (default 10)")
    parser.add_argument("--rate", type=int, default=RATE, help="frames a second of the long film (default 24)")
    parser.add_argument("--method", default="copy", help="of the long film (default copy)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("RAY_worker_niceness", "0")
    with tempfile.TemporaryDirectory(prefix="dvcp-bench-") as scratch:
        folder = Path(scratch)
        if options.what == "nodes":
            rows = nodes(folder, options.nodes, options.seconds)
        elif options.what == "driver":
            rows = driver_cost(folder, options.segments)
        else:
            rows = hours(folder, options.hours, options.method, options.rate)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
