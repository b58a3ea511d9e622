"""The simulation against a real crew whose networks sleep: what it says of one lane and of two is what they take."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("simpy")

from dvcp.bench_scale import SIMULATED, planned
from dvcp.planning.simulate import Piece, Simulation
from dvcp.planning.world import Archive, Cluster, Pace, Store
from dvcp.runtime.driver import driving
from dvcp.runtime.job import Job, propagate
from dvcp.runtime.settings import PoolSettings

#: seconds asleep for a window of 8 frames, as they come with the simulated method
MATCH, PROPAGATE = 0.1, 0.4
#: how far the simulation may be from what happens
ERROR = 0.35


def taken(job: Job, lanes: int) -> float:
    """Seconds of colouring, the actors' start left out."""
    with driving(PoolSettings(propagators=lanes, threads=1)) as driver:
        while driver.snapshot()["lanes"][0] < lanes or driver.snapshot()["matchers"][0] < lanes:
            time.sleep(0.1)
        # The first call of an actor imports what it needs.
        out = Path(job.settings.out)
        warm = planned(out.parent, f"{out.stem}-warm", 8 * lanes, lanes, SIMULATED)
        propagate(warm, lambda *_: None, driver)
        began = time.monotonic()
        propagate(job, lambda *_: None, driver)
        return time.monotonic() - began


def told(job: Job, lanes: int, segment: float) -> float:
    """Seconds of colouring as simulated, of the job's own segments."""
    pieces = [Piece(s.key, s.frames, s.needs, s.gives) for s in job.plan]
    archive = Archive(1, sum(p.frames for p in pieces), bytes_out=1e3, bytes_in=0)
    pace = Pace(0, MATCH / 8, PROPAGATE / 8, 0, 0, 0, 0, segment)
    cluster = Cluster(gpus=0, lanes=lanes, matchers=lanes, films=1, store=Store(latency=0), rereads=0)
    run = Simulation(archive, cluster, pace, chunk=8, cut=lambda *_: pieces)
    return run.run().seconds


@pytest.mark.night  # it compares seconds: nothing else may run beside it
def test_one_lane_and_two_take_what_the_simulation_says(cluster: None, tmp_path: Path) -> None:
    short = planned(tmp_path, "short", 12 * 8, 12, SIMULATED)
    # Of a segment of one frame painted and 7 matched and propagated, what is no sleep is the fixed cost.
    segment = max(0.0, taken(short, 1) / 12 - MATCH - PROPAGATE)
    long = planned(tmp_path, "long", 8 * 64, 8, SIMULATED)
    real = {1: taken(long, 1), 2: taken(planned(tmp_path, "other", 8 * 64, 8, SIMULATED), 2)}
    for lanes in (1, 2):
        said = told(long, lanes, segment)
        print(f"{lanes} lanes: simulated {said:.1f} s, real {real[lanes]:.1f} s (a segment {segment:.2f} s)")
        assert said == pytest.approx(real[lanes], rel=ERROR)
