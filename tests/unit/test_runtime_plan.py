"""The plan: every frame in exactly one segment, states handed on in order, keys that change when what they are made from changes."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from dvcp.media.probe import probe
from dvcp.runtime.plan import Planner, ReferenceSource, Segment, missing
from dvcp.shots.timeline import ShotList, from_cuts
from dvcp.store.ledger import Ledger
from dvcp.timing import Span
from tests.films import make_film


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    film = make_film(tmp_path_factory.mktemp("plan"), lengths=(60, 40), painted=((0,), (0,)))
    return Planner(probe(str(film.gray)), "f" * 64, "m" * 64, window=8, profile="master", segment_frames=16)


def shots() -> ShotList:
    return from_cuts("reel", Fraction(24), 100, [60])


def still(frame: int | None, name: str = "a") -> ReferenceSource:
    return ReferenceSource(f"{name}.png", name * 64, frame)


def written(plan: list[Segment]) -> list[int]:
    return [frame for s in plan if not s.scout for frame in s.span]


@pytest.mark.parametrize("painted", [(0,), (59,), (30,), (0, 59), (10, 11), (5, 20, 58), ()])
def test_every_frame_is_written_once_and_in_order(planner: Planner, painted: tuple[int, ...]) -> None:
    plan = planner.plan(shots(), {1: [still(f) for f in painted], 2: [still(99)]})
    assert sorted(written(plan)) == list(range(100))


@pytest.mark.parametrize("painted", [(0,), (59,), (30,), (0, 59), (5, 20, 58)])
def test_states_are_given_before_they_are_needed(planner: Planner, painted: tuple[int, ...]) -> None:
    given: set[str] = set()
    for segment in planner.plan(shots(), {1: [still(f) for f in painted]}):
        assert segment.needs <= given
        given |= segment.gives


def test_long_shot_between_two_stills_gets_scouts(planner: Planner) -> None:
    plan = planner.plan(shots(), {1: [still(0), still(59, "b")]})
    first = [s for s in plan if s.shot == 1]
    real = [s for s in first if not s.scout and s.legs]
    assert len(real) == 4
    assert sum(s.scout for s in first) == len(real) - 1
    assert all(len(s.legs) == 2 for s in real)
    for segment in real:
        forward, backward = segment.legs
        assert [sorted(w) for w in forward.windows] == [sorted(w) for w in reversed(backward.windows)]


def test_a_new_still_changes_only_its_shot(planner: Planner) -> None:
    before = {s.key for s in planner.plan(shots(), {1: [still(3)], 2: [still(70)]})}
    after = {s.key for s in planner.plan(shots(), {1: [still(3, "b")], 2: [still(70)]})}
    shared = {s.key for s in planner.plan(shots(), {1: [still(3)], 2: [still(70)]}) if s.shot == 2}
    assert before & after == shared


def test_a_still_more_changes_only_its_side(planner: Planner) -> None:
    one = planner.plan(shots(), {1: [still(10)]})
    two = planner.plan(shots(), {1: [still(10), still(40, "b")]})
    kept = {s.key for s in one} & {s.key for s in two}
    assert {frame for s in one if s.key in kept and s.shot == 1 for frame in s.span} == set(range(10))


def test_missing_asks_again_for_a_state_that_is_gone(planner: Planner, tmp_path: Path) -> None:
    plan = [s for s in planner.plan(shots(), {1: [still(0)]}) if s.shot == 1]
    ledger = Ledger(str(tmp_path / "x.dvcp"))
    assert [s.key for s in missing(plan, ledger)] == [s.key for s in plan]
    assert [s.span for s in plan] == [Span(0, 17), Span(17, 33), Span(33, 49), Span(49, 60)]


def test_a_shot_without_a_reference_is_a_chain_where_the_method_is_automatic_and_else_stays_gray(planner: Planner) -> None:
    gray = planner.plan(shots(), {2: [still(70)]})
    automatic = replace(planner, automatic=True).plan(shots(), {2: [still(70)]})
    assert [(s.key, s.span) for s in gray] == [(s.key, s.span) for s in automatic]
    assert [s.legs for s in gray if s.shot == 1] == [()] * 4
    chain = [leg for s in automatic if s.shot == 1 for leg in s.legs]
    assert len(chain) == 4 and all(leg.references == () and leg.forward for leg in chain)
    assert chain[0].enters is None and [leg.enters for leg in chain[1:]] == [leg.leaves for leg in chain[:-1]]
    assert [s for s in gray if s.shot == 2] == [s for s in automatic if s.shot == 2]
    turned = replace(planner, automatic=True, method="n" * 64).plan(shots(), {})
    assert not {state for s in turned for state in s.gives} & {state for s in automatic for state in s.gives}


def test_pictures_from_elsewhere_all_come_along_and_their_order_is_part_of_the_key(planner: Planner) -> None:
    given = [still(None), still(None, "b")]
    plan = planner.plan(shots(), {2: given})
    legs = [leg for s in plan for leg in s.legs]
    assert legs and all(leg.references == tuple(given) for leg in legs)
    turned = planner.plan(shots(), {2: given[::-1]})
    assert not {s.key for s in plan if s.shot == 2} & {s.key for s in turned}
    assert {state for s in plan for state in s.gives}.isdisjoint(state for s in turned for state in s.gives)
