"""One actor of each kind killed in the middle of a run: the run goes on, and no pixel tells of it."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dvcp.runtime.driver import Driver
from dvcp.runtime.job import JobSettings, deliver, prepare, propagate
from dvcp.runtime.work import Progress
from tests.films import framemd5, make_film, small_weights

pytestmark = pytest.mark.slow


def is_a(process: psutil.Process, kind: str) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return any(f"ray::{kind}" in word for word in process.cmdline())
    return False


def kill(kind: str) -> int:
    """SIGKILL every process of one kind of actor of this test's Ray; how many there were."""
    found = [p for p in psutil.Process().children(recursive=True) if is_a(p, kind)]
    for process in found:
        os.kill(process.pid, signal.SIGKILL)
    return len(found)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, actors: Driver) -> dict[str, tuple[JobSettings, list[bytes]]]:
    """By method: a job, and the frames it makes when nothing happens."""
    folder = tmp_path_factory.mktemp("calm")
    film = make_film(folder, lengths=(44, 20), painted=((0,), (10,)))
    options = {"weights": str(small_weights(folder / "w.safetensors", taps=25))}
    found = {}
    for method in ("dvcp", "exemplar"):
        out = folder / f"{method}.mkv"
        settings = JobSettings(str(film.gray), str(film.stills), str(out), method, options=options, segment_frames=16)
        job = prepare(settings)
        propagate(job, lambda *_: None, actors)
        deliver(job)
        found[method] = (settings, framemd5(out))
    return found


@pytest.mark.parametrize(
    ("kind", "method"),
    [("Propagator", "exemplar"), ("Matcher", "exemplar"), ("Decoder", "dvcp"), ("Writer", "dvcp"), ("Propagator", "dvcp")],
)
def test_run_survives(tmp_path: Path, actors: Driver, calm: dict[str, tuple[JobSettings, list[bytes]]], kind: str, method: str) -> None:
    settings, wanted = calm[method]
    job = prepare(replace(settings, out=str(tmp_path / "killed.mkv")))
    killed, again = [], []

    def report(segment: object, item: object) -> None:
        if item is None:
            again.append(segment)
        if isinstance(item, Progress) and not killed:
            killed.append(kill(kind))

    propagate(job, report, actors)
    deliver(job)
    assert killed and killed[0] >= 1
    assert len(again) <= 1, "one lane loses at most the segment it was working on"
    assert framemd5(tmp_path / "killed.mkv") == wanted
