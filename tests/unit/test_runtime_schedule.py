"""The policy alone: everything once, in an order that its states allow, fair between films, the longest first."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

import pytest

from dvcp.runtime.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Piece:
    name: str
    frames: int
    needs: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()


def chain(name: str, *lengths: int) -> list[Piece]:
    """A long shot: every piece needs the state of the one before."""
    states = [frozenset({f"{name}{k}"}) for k in range(len(lengths))]
    return [Piece(f"{name}{k}", length, states[k - 1] if k else frozenset(), states[k]) for k, length in enumerate(lengths)]


def taken(schedule: Schedule[Piece], count: int) -> list[tuple[str, Piece]]:
    found = [schedule.take() for _ in range(count)]
    return [one for one in found if one is not None]


def test_the_longest_chain_goes_first() -> None:
    schedule: Schedule[Piece] = Schedule()
    schedule.add("film", [*chain("short", 30), *chain("long", 10, 10, 10, 10), *chain("middle", 35)])
    assert [unit.name for _, unit in taken(schedule, 9)] == ["long0", "middle0", "short0"]


def test_films_share_lanes_evenly_whatever_their_size() -> None:
    schedule: Schedule[Piece] = Schedule()
    for film, shots in (("big", 40), ("small", 3), ("other", 3)):
        schedule.add(film, [Piece(f"{film}{k}", 10) for k in range(shots)])
    assert Counter(film for film, _ in taken(schedule, 9)) == {"big": 3, "small": 3, "other": 3}
    assert Counter(film for film, _ in taken(schedule, 5)) == {"big": 5}


def test_what_is_done_frees_what_waited_for_it() -> None:
    schedule: Schedule[Piece] = Schedule()
    first, second = chain("shot", 5, 5)
    schedule.add("film", [first, second])
    assert taken(schedule, 2) == [("film", first)]
    schedule.done("film", first)
    assert taken(schedule, 2) == [("film", second)]
    assert not schedule.over("film")
    schedule.done("film", second)
    assert schedule.over("film")


def test_what_is_lost_comes_again_and_what_failed_takes_its_chain_along() -> None:
    schedule: Schedule[Piece] = Schedule()
    broken, behind = chain("broken", 5, 5)
    schedule.add("film", [broken, behind, Piece("alone", 1)])
    schedule.lost(*taken(schedule, 1)[0])
    assert [unit.name for _, unit in taken(schedule, 1)] == ["broken0"]
    schedule.failed("film", broken)
    assert [unit.name for _, unit in taken(schedule, 3)] == ["alone"]


def test_a_stopped_film_ends_with_what_is_under_way() -> None:
    schedule: Schedule[Piece] = Schedule()
    schedule.add("film", [Piece(str(k), 1) for k in range(4)])
    one, two = taken(schedule, 2)
    schedule.stop("film")
    schedule.lost(*one)
    assert schedule.take() is None and not schedule.over("film")
    schedule.done(*two)
    assert schedule.over("film")


def test_a_film_is_here_once() -> None:
    schedule: Schedule[Piece] = Schedule()
    schedule.add("film", [])
    with pytest.raises(ValueError, match="film"):
        schedule.add("film", [])
    schedule.remove("film")
    schedule.add("film", [])
    assert schedule.over("film")


def test_everything_is_done_once_and_in_an_order_its_states_allow() -> None:
    chance = random.Random(5)
    schedule: Schedule[Piece] = Schedule()
    whole: list[Piece] = []
    for film in "abc":
        pieces = [p for k in range(7) for p in chain(f"{film}{k}-", *(chance.randint(1, 9) for _ in range(chance.randint(1, 5))))]
        whole += pieces
        schedule.add(film, pieces)
    standing: set[str] = set()
    finished: list[Piece] = []
    under_way: list[tuple[str, Piece]] = []
    while len(finished) < len(whole):
        while len(under_way) < 4 and (one := schedule.take()):
            assert one[1].needs <= standing
            under_way.append(one)
        film, unit = under_way.pop(chance.randrange(len(under_way)))
        if chance.random() < 0.3:
            schedule.lost(film, unit)
            continue
        schedule.done(film, unit)
        standing |= unit.gives
        finished.append(unit)
    assert Counter(unit.name for unit in finished) == Counter(unit.name for unit in whole)
    assert schedule.take() is None and all(schedule.over(film) for film in "abc")
