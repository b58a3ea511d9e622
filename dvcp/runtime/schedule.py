"""Which piece of work goes next, of many films at once: pure policy, which the driver follows and the simulation measures."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Unit(Protocol):
    """A piece of one film's work that one lane does at a stretch, such as :class:`dvcp.runtime.plan.Segment`."""

    @property
    def needs(self) -> frozenset[str]:
        """States that must stand before it can begin."""

    @property
    def gives(self) -> frozenset[str]:
        """States that stand when it is done."""

    @property
    def frames(self) -> int:
        """How long it takes, in frames."""


U = TypeVar("U", bound=Unit)
#: units under way, minus the frames of the longest chain that may begin, place among films
_Turn = tuple[int, int, int]


@dataclass
class _Film(Generic[U]):
    """What is left of one film.

    Attributes:
        place: by how many other films it was preceded.
        ready: heap of (minus the frames of the chain that hangs on it, its place, it), of what may begin.
        missing: of units that may not, by place: the states they still wait for.
        takers: by state, the places of those that wait for it.
        under_way: places of the units handed out and not back, by their identity.
        stopped: nothing more is to be handed out.
    """

    place: int
    units: list[U] = field(default_factory=list)
    chains: list[int] = field(default_factory=list)
    ready: list[tuple[int, int]] = field(default_factory=list)
    missing: dict[int, set[str]] = field(default_factory=dict)
    takers: dict[str, list[int]] = field(default_factory=dict)
    under_way: dict[int, int] = field(default_factory=dict)
    stopped: bool = False

    @property
    def turn(self) -> _Turn:
        """What decides when it is served, the least first; only with something ready."""
        return len(self.under_way), self.ready[0][0], self.place

    def offer(self, place: int) -> None:
        """A unit may begin."""
        if not self.stopped:
            heapq.heappush(self.ready, (-self.chains[place], place))


class Schedule(Generic[U]):
    """Fair between films, and within a film what is longest first, so that the end of the night is short.

    The film with the fewest units under way goes first; among those the one whose longest chain of units, each needing the state that the
    one before leaves, has most frames: a shot of forty minutes that begins last would be the only one at work for its whole length.
    Not safe for threads.
    """

    def __init__(self) -> None:
        self._films: dict[str, _Film[U]] = {}
        self._added = 0
        # Films in the order they are to be served; an entry that no longer says what holds is skipped when it comes up. To compare all
        # films for each segment was half of what a driver of 800 films did.
        self._order: list[tuple[_Turn, str]] = []

    def add(self, film: str, units: Sequence[U]) -> None:
        """Put a film's units up for work. A state that none of ``units`` gives is taken to stand.

        Args:
            units: each behind those whose states it needs.

        Raises:
            ValueError: the film is here already.
        """
        if film in self._films:
            raise ValueError(f"{film} is being worked on")
        one: _Film[U] = _Film(self._added, list(units), [0] * len(units))
        self._added += 1
        behind: dict[str, int] = {}
        for place in range(len(units) - 1, -1, -1):
            unit = one.units[place]
            one.chains[place] = unit.frames + max((behind.get(state, 0) for state in unit.gives), default=0)
            for state in unit.needs:
                behind[state] = max(behind.get(state, 0), one.chains[place])
        given = {state for unit in units for state in unit.gives}
        for place, unit in enumerate(one.units):
            if wanted := set(unit.needs & given):
                one.missing[place] = wanted
                for state in wanted:
                    one.takers.setdefault(state, []).append(place)
            else:
                one.offer(place)
        self._films[film] = one
        self._queue(film)

    def take(self) -> tuple[str, U] | None:
        """The next unit and its film; None when nothing can begin now."""
        while self._order:
            turn, film = heapq.heappop(self._order)
            one = self._films.get(film)
            if one is not None and one.ready and turn == one.turn:
                _, place = heapq.heappop(one.ready)
                unit = one.units[place]
                one.under_way[id(unit)] = place
                self._queue(film)
                return film, unit
        return None

    def done(self, film: str, unit: U) -> None:
        """A unit taken is finished: those that waited for its states may begin."""
        one = self._films[film]
        one.under_way.pop(id(unit))
        for state in unit.gives:
            for place in one.takers.pop(state, ()):
                one.missing[place].discard(state)
                if not one.missing[place]:
                    del one.missing[place]
                    one.offer(place)
        self._queue(film)

    def lost(self, film: str, unit: U) -> None:
        """A unit taken has to be done again."""
        one = self._films[film]
        one.offer(one.under_way.pop(id(unit)))
        self._queue(film)

    def failed(self, film: str, unit: U) -> None:
        """A unit taken can never be done, nor those that need its states; the others of the film go on."""
        self._films[film].under_way.pop(id(unit))
        self._queue(film)

    def stop(self, film: str) -> None:
        """Hand out nothing more of a film; what is under way comes back as ever."""
        one = self._films[film]
        one.stopped = True
        one.ready.clear()

    def over(self, film: str) -> bool:
        """Whether nothing of a film is under way or can begin."""
        one = self._films[film]
        return not one.under_way and not one.ready

    def remove(self, film: str) -> None:
        """Forget a film."""
        del self._films[film]

    def _queue(self, film: str) -> None:
        one = self._films[film]
        if one.ready:
            heapq.heappush(self._order, (one.turn, film))
