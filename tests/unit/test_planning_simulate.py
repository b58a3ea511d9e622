"""The simulation follows the product's schedule, loses nothing, does nothing twice and exceeds no capacity."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("simpy")

from dvcp.planning.simulate import Result, Simulation, film_pieces
from dvcp.planning.sweep import Setup, steady
from dvcp.planning.world import Archive, Cluster, Pace, Server, Store

PACE = Pace(
    decode=0.002, match=0.01, propagate=0.02, encode=0.008, prepare=0.004, deliver=0.001, verify=0.004, segment=0.1, dispatch=0.002,
    event=0.001, film=0.5, start=3,
)  # fmt: skip
SMALL = Archive(films=5, frames=1500, bytes_out=1e5)
CLUSTER = Cluster(gpus=2, lanes=4, matchers=2, films=3)


def simulated(cluster: Cluster = CLUSTER, archive: Archive = SMALL, pace: Pace = PACE) -> Result:
    return Simulation(archive, cluster, pace, keep=True).run()


@pytest.mark.parametrize("mtbf", [0.0, 20.0])
def test_all_work_is_done_exactly_once(mtbf: float) -> None:
    result = simulated(replace(CLUSTER, mtbf=mtbf))
    assert result.frames == SMALL.films * SMALL.frames
    assert set(result.done.values()) == {1} and len(result.done) == result.segments
    assert (result.lost > 0) == (mtbf > 0)
    assert len(result.order) == result.segments + result.lost


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    assert simulated() == simulated()
    assert simulated() != simulated(replace(CLUSTER, seed=2))


@pytest.mark.parametrize("lanes", [1, 4, 16])
def test_no_capacity_is_exceeded(lanes: int) -> None:
    result = simulated(replace(CLUSTER, lanes=lanes))
    assert all(0 <= share <= 1 + 1e-9 for share in result.busy.values())
    assert result.rate <= 2 / (PACE.match + PACE.propagate)
    assert result.rate <= lanes / (PACE.encode + PACE.decode)
    # the same work, whatever the crew: shares times time times GPUs is the work of all frames
    assert result.busy["gpu"] * result.seconds * 2 == pytest.approx(result.frames * (PACE.match + PACE.propagate), rel=1e-6)


def test_a_narrow_store_or_driver_or_ledger_is_the_limit() -> None:
    free = simulated().rate
    store = Store(bandwidth=4e6)
    slow = simulated(replace(CLUSTER, store=store))
    assert slow.rate <= store.bandwidth / SMALL.bytes_out / (1 + CLUSTER.rereads) < free
    many, crew, slow_driver = replace(SMALL, films=8), replace(CLUSTER, films=6), replace(PACE, dispatch=6.0)
    busy = simulated(crew, many, slow_driver)
    assert busy.rate < free and busy.busy["driver"] > 0.8
    written = simulated(replace(CLUSTER, store=Store(ledger_rate=0.5)))
    assert written.segments / written.seconds <= 0.5 and written.rate < free
    batched = simulated(replace(CLUSTER, store=Store(ledger_rate=0.5), batch=10))
    assert batched.rate > 1.2 * written.rate
    sharded = simulated(replace(crew, drivers=2), many, slow_driver)
    assert sharded.rate > 1.3 * busy.rate


def test_more_gpus_never_make_it_slower_and_at_most_as_much_faster() -> None:
    archive = replace(SMALL, films=12)
    rates = [simulated(replace(CLUSTER, gpus=n, matchers=n, lanes=2 * n, films=2 * n), archive).rate for n in (1, 2, 4)]
    assert rates[0] < rates[1] < rates[2] < 4.2 * rates[0]


def test_films_open_together_share_lanes() -> None:
    result = simulated(replace(CLUSTER, films=5), pace=replace(PACE, prepare=0.0, film=0.0))
    begun = Counter(result.order[: result.segments // 2])
    # All lanes may have been given to the film that was there first.
    assert len(begun) == SMALL.films and max(begun.values()) - min(begun.values()) <= CLUSTER.lanes


def test_the_tail_is_about_the_last_chain_when_long_shots_go_first() -> None:
    archive = Archive(films=1, frames=6000, shot_median=100, shot_sigma=1.2, bytes_out=1e5)
    result = simulated(replace(CLUSTER, films=1), archive)
    pieces = film_pieces("film0", archive, np.random.default_rng(CLUSTER.seed))
    chain = max(Counter(_shots(pieces)).values())
    # A lane may be one chain behind when the last film's work is all handed out, never more.
    assert result.tail <= (chain / archive.segment_frames + 1) * (archive.segment_frames * 2 * (PACE.match + PACE.propagate) + 1)


def _shots(pieces: list) -> list[str]:
    return [piece.name.rsplit("-", 1)[0] for piece in pieces for _ in range(piece.frames)]


def test_pieces_cover_the_film_and_chains_hang_together() -> None:
    archive = replace(SMALL, frames=5000, shot_sigma=1.5)
    pieces = film_pieces("f", archive, np.random.default_rng(3))
    assert sum(p.frames for p in pieces) == 5000 and max(p.frames for p in pieces) <= archive.segment_frames
    given = Counter(state for p in pieces for state in p.gives)
    needed = Counter(state for p in pieces for state in p.needs)
    assert given == needed and set(given.values()) == {1}


def test_a_server_is_never_busier_than_it_is_wide() -> None:
    server = Server(2)
    assert [server.ask(0, 4), server.ask(0, 4), server.ask(0, 4)] == [4, 4, 8]
    assert server.worked(4) == 8 and server.worked(6) == 10 and server.worked(8) == 12


def test_the_steady_state_agrees_with_a_whole_run() -> None:
    archive = Archive(films=10**6, frames=4000, bytes_out=1e5)
    short = steady(Setup("test", lanes_each=2), 4, archive, PACE, segments=800)
    long = Simulation(archive, short.cluster, PACE, until=1000, warm=300).run()
    assert short.result.rate == pytest.approx(long.rate, rel=0.15)
    assert short.result.busy["gpu"] == pytest.approx(long.busy["gpu"], rel=0.15)
