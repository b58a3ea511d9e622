"""Ray as dvcp starts it, and jobs that have their own actors."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dvcp.runtime.job import JobSettings, deliver, prepare, propagate
from dvcp.runtime.settings import PoolSettings
from tests.films import framemd5, make_film, small_weights

pytestmark = pytest.mark.slow

SCRIPT = """
import os, ray
from dvcp.runtime.cluster import connected
from dvcp.runtime.settings import PoolSettings
with connected(PoolSettings()):
    print("NICE", ray.get(ray.remote(lambda: os.nice(0)).remote()), os.nice(0))
print("ENDED", not ray.is_initialized())
"""


def test_workers_are_as_eager_as_the_command_and_go_with_it() -> None:
    """A process of its own: what Ray reads from the environment it reads once."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=280)
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("NICE", "ENDED")))
    worker, command = lines["NICE"].split()
    assert worker == command, done.stderr
    assert lines["ENDED"] == "True"


FROM_A_THREAD = """
import ray, threading
from contextlib import ExitStack
from dvcp.runtime.cluster import connected
from dvcp.runtime.settings import PoolSettings
with ExitStack() as stack:
    first = threading.Thread(target=lambda: stack.enter_context(connected(PoolSettings())))
    first.start()
    first.join()
    print("SUM", ray.get(ray.remote(lambda: 1 + 1).remote(), timeout=60))
print("ENDED", not ray.is_initialized())
"""


def test_ray_outlives_the_thread_that_first_needed_it() -> None:
    """The first of several films may end long before the others, and Linux then killed the servers it had started."""
    done = subprocess.run([sys.executable, "-c", FROM_A_THREAD], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and {"SUM 2", "ENDED True"} <= set(done.stdout.splitlines()), done.stdout + done.stderr


def test_more_actors_change_no_bit_and_go_with_their_job(tmp_path: Path, cluster: None) -> None:
    film = make_film(tmp_path, lengths=(20, 20), painted=((3,), (0,)))
    base = JobSettings(str(film.gray), str(film.stills), "", options={"weights": str(small_weights(tmp_path / "w.safetensors"))})
    # Both sets of actors at once would want more than the 2 cores this Ray has, and the second wait for ever.
    for name, pools in {"one": PoolSettings(), "more": PoolSettings(propagators=2, matchers=3)}.items():
        job = prepare(replace(base, out=str(tmp_path / f"{name}.mkv"), pools=pools, segment_frames=16))
        assert propagate(job, lambda *_: None)
        deliver(job)
    assert framemd5(tmp_path / "one.mkv") == framemd5(tmp_path / "more.mkv")
