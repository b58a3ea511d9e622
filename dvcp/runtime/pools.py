"""What all actors of a run have done so far, gathered without any segment waiting for it; and what the driver tells Prometheus."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from dvcp.runtime.meter import AT_WORK, COMMITTED, DONE, GIVEN_UP, LANES, LOST, MATCHERS, Tally
from dvcp.runtime.work import Lane

log = logging.getLogger(__name__)
#: seconds between two times that answers are taken and Prometheus is told
_EVERY_S = 5
#: what of a driver's snapshot is counted where
_COUNTED = {"segments": COMMITTED, "committed": DONE, "lost": LOST, "given_up": GIVEN_UP}


class Pools:
    """Tallies of all actors of one driver. Of the driver's thread alone, but for :meth:`totals`."""

    def __init__(self) -> None:
        self._asked: dict[Any, Any] = {}
        #: actors that have done something since they were asked
        self._news: set[Any] = set()
        self._last: dict[str, Tally] = {}
        self._due, self._told = 0.0, dict.fromkeys(_COUNTED, 0)

    def ended(self, lane: Lane) -> None:
        """A segment ended: its actors have something to tell."""
        self._news |= {lane.decoder, lane.propagator, lane.writer, *lane.matchers}

    def tend(self, snapshot: Callable[[], Mapping[str, Any]]) -> None:
        """Take what answers there are, and tell Prometheus how the run stands; every few seconds. Never waits, never raises."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _EVERY_S
            try:
                self._gather()
                self._tell(snapshot())
            except Exception:
                # The driver's thread is that of all films: no number is worth them.
                log.debug("the numbers of the actors", exc_info=True)

    def totals(self) -> dict[str, tuple[int, float]]:
        """By pool, frames worked on and busy seconds of all its actors, as of the last segments that ended. From any thread."""
        sums: dict[str, tuple[int, float]] = {}
        for tally in list(self._last.values()):
            frames, seconds = sums.get(tally.pool, (0, 0.0))
            sums[tally.pool] = frames + tally.frames, seconds + tally.seconds
        return sums

    def _gather(self) -> None:
        self._take()
        # One question at a time: an actor whose node is gone may never answer, and one at work answers at the segment's end.
        for actor in self._news - self._asked.keys():
            self._asked[actor] = actor.tally.remote()
            self._news.discard(actor)

    def _tell(self, now: Mapping[str, Any]) -> None:
        for name, metric in _COUNTED.items():
            metric.tell(now[name] - self._told[name])
            self._told[name] = now[name]
        for name, gauge in (("lanes", LANES), ("matchers", MATCHERS)):
            up, wanted = now[name]
            gauge.tell(up, state="up")
            gauge.tell(wanted, state="wanted")
        AT_WORK.tell(now["under_way"])

    def _take(self) -> None:
        if not self._asked:
            return
        ready, _ = ray.wait(list(self._asked.values()), num_returns=len(self._asked), timeout=0)
        there = set(ready)
        for actor in [actor for actor, answer in self._asked.items() if answer in there]:
            # What a process that died has not told is lost: numbers are not worth asking twice.
            with suppress(RayError):
                tally: Tally = ray.get(self._asked[actor])
                self._last[tally.worker] = tally
            del self._asked[actor]
