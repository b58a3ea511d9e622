"""One actor of each kind killed in the middle of a run: the run goes on, and no pixel tells of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import ray

from dvcp.runtime.actors import Progress
from dvcp.runtime.job import JobSettings, deliver, prepare, propagate
from tests.films import framemd5, make_film, small_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=300 << 20)
    yield
    ray.shutdown()


def kill(kind: str) -> int:
    """SIGKILL every process of one kind of actor; how many there were."""
    found = [p for p in psutil.process_iter(["cmdline"]) if any(f"ray::{kind}" in word for word in p.info["cmdline"] or ())]
    for process in found:
        os.kill(process.pid, signal.SIGKILL)
    return len(found)


@pytest.mark.parametrize(
    ("kind", "method"),
    [("Propagator", "dvcp"), ("Matcher", "exemplar"), ("Decoder", "dvcp"), ("Writer", "exemplar"), ("Propagator", "exemplar")],
)
def test_run_survives(tmp_path: Path, kind: str, method: str) -> None:
    film = make_film(tmp_path, lengths=(60, 30), painted=((0,), (15,)))
    weights = small_weights(tmp_path / "w.safetensors", taps=25)
    settings = JobSettings(
        str(film.gray), str(film.stills), str(tmp_path / "calm.mkv"), method, options={"weights": str(weights)}, segment_frames=16
    )
    calm = prepare(settings)
    propagate(calm, lambda *_: None)
    deliver(calm)
    job = prepare(replace(settings, out=str(tmp_path / "killed.mkv")))
    killed, again = [], []

    def report(segment: object, item: object) -> None:
        if item is None:
            again.append(segment)
        if isinstance(item, Progress) and not killed:
            killed.append(kill(kind))

    propagate(job, report)
    deliver(job)
    assert killed and killed[0] >= 1
    assert len(again) <= 1, "one lane loses at most the segment it was working on"
    assert framemd5(tmp_path / "killed.mkv") == framemd5(tmp_path / "calm.mkv")
