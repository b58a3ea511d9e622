"""Runs the plans of many films on one fleet: hands out segments as the states they need appear, and again what a dying process lost."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from dvcp.errors import ClusterLost, DvcpError, MediaError, one_line
from dvcp.runtime.cluster import NO_ROOM_S, connected, no_room
from dvcp.runtime.fleet import Fleet
from dvcp.runtime.plan import Segment
from dvcp.runtime.pools import Pools
from dvcp.runtime.schedule import Schedule
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.work import Lane, Progress, Work
from dvcp.runtime.write import Writer
from dvcp.store.ledger import SegmentRecord
from dvcp.store.secrets import redact

log = logging.getLogger(__name__)
#: times one segment may be lost to dying processes before it is given up: a damaged stream kills its decoder every time
ATTEMPTS = 4
#: seconds the slowest method may take for a frame
SLOWEST_FRAME_S = 20

Report = Callable[[Segment, Progress | SegmentRecord | None], None]


@dataclass(eq=False)
class _Order:
    """What was asked for one film, and how it stands.

    Attributes:
        name: its name in the schedule.
        lost: how often each segment's process died.
    """

    name: str
    work: Work
    segments: Sequence[Segment]
    report: Report
    past_damage: bool
    silence_s: float
    future: Future[list[SegmentRecord]] = field(default_factory=Future)
    records: list[SegmentRecord] = field(default_factory=list)
    failure: BaseException | None = None
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(eq=False)
class _Running:
    """A segment at work. ``heard`` is when it last showed a sign of life, on the monotonic clock; ``committed``, that its record came."""

    order: _Order
    segment: Segment
    lane: Lane
    heard: float
    committed: bool = False


@dataclass
class _Counts:
    """What a driver has seen so far: ``frames`` coloured, ``segments`` committed, of ``committed`` frames; ``lost`` to processes that died,
    ``given_up``."""

    frames: int = 0
    segments: int = 0
    committed: int = 0
    lost: int = 0
    given_up: int = 0


class Driver:
    """One fleet for many films, from :func:`driving`. :meth:`run` may be called from many threads; all Ray is spoken by one of its own."""

    def __init__(self, settings: PoolSettings, writer: type = Writer) -> None:
        self._counts = _Counts()
        self._fleet = Fleet(settings, writer)
        self._pools = Pools()
        self._schedule: Schedule[Segment] = Schedule()
        self._asked: SimpleQueue[_Order] = SimpleQueue()
        self._orders: dict[str, _Order] = {}
        self._running: dict[Any, _Running] = {}
        self._stop, self._count, self._laned = threading.Event(), 0, time.monotonic()
        self._lock, self._closed = threading.Lock(), False
        self._thread = threading.Thread(target=self._work, name="dvcp driver", daemon=True)
        self._thread.start()

    @property
    def open_mb(self) -> int:
        """MiB of decoded pictures that each lane may have waiting."""
        return self._fleet.open_mb

    def run(
        self, work: Work, segments: Sequence[Segment], report: Report, *, past_damage: bool = False, silence_s: float = 600
    ) -> list[SegmentRecord]:
        """Compute ``segments`` (from :func:`dvcp.runtime.plan.missing`) of one film, beside those of others.

        Args:
            report: called with progress, with a finished segment's record, and with None when a segment was lost and starts again; in
                the driver's thread.
            past_damage: go on behind a segment whose frames cannot be read, with those that need nothing of it.
            silence_s: seconds a segment may bring no frame before its actors are killed; the second time it is given up.

        Raises:
            DvcpError: the first error that trying again cannot mend; segments already under way are finished first, so nothing done is
                lost.
            ClusterLost: nothing is wrong with the film.
        """
        with self._lock:
            if self._closed:
                raise ended()
            self._count += 1
            order = _Order(f"{self._count} {work.info.url}", work, segments, report, past_damage, silence_s)
            self._asked.put(order)
        return order.future.result()

    def snapshot(self) -> dict[str, Any]:
        """How it stands: counts, films and segments under way, lanes and matchers as (up, all), pools as (frames, busy s)."""
        return vars(self._counts) | {
            "films": len(self._orders), "under_way": len(self._running), "lanes": self._fleet.lanes, "matchers": self._fleet.matchers,
            "replaced": self._fleet.replaced, "pools": self._pools.totals(),
        }  # fmt: skip

    def close(self) -> None:
        """End the actors. What is still asked for fails."""
        with self._lock:
            self._closed = True
        self._stop.set()
        self._thread.join()
        self._fleet.__exit__()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                self._take_orders()
                self._fleet.tend()
                self._hand_out()
                self._listen()
                self._settle()
                self._pools.tend(self.snapshot)
            raise ended()
        except BaseException as trouble:
            # Whoever waits must hear of it, whatever it is: a thread that dies in silence would keep them waiting for ever.
            error = trouble
            if isinstance(trouble, RayError | ConnectionError):
                error = ClusterLost(f"the Ray cluster was lost: {one_line(trouble)}", hint="run the same command again: what is done stays")
            for order in self._orders.values():
                order.future.set_exception(error)
            while not self._stop.wait(0.2) or not self._asked.empty():
                while not self._asked.empty():
                    self._asked.get().future.set_exception(error)

    def _take_orders(self) -> None:
        wait = None if self._orders else 0.5
        try:
            while True:
                order = self._asked.get(block=wait is not None, timeout=wait)
                self._orders[order.name] = order
                self._schedule.add(order.name, order.segments)
                wait = None
        except Empty:
            pass

    def _hand_out(self) -> None:
        if min(self._fleet.lanes[0], self._fleet.matchers[0]) or not self._orders:
            self._laned = time.monotonic()
        elif time.monotonic() - self._laned > NO_ROOM_S:
            raise no_room("a lane and a matcher")
        while lane := self._fleet.take():
            chosen = self._schedule.take()
            if chosen is None:
                self._fleet.give_back(lane)
                return
            name, segment = chosen
            order = self._orders[name]
            stream = lane.writer.write.options(num_returns="streaming").remote(order.work, segment, lane)
            self._running[stream] = _Running(order, segment, lane, time.monotonic())

    def _listen(self) -> None:
        if not self._running:
            time.sleep(0.05 if self._orders else 0)
            return
        streams = list(self._running)
        # A second at most, because a new film, or a lane that is back, must not wait for a frame of another.
        done, _ = ray.wait(streams, num_returns=1, timeout=1, fetch_local=False)
        if done and len(streams) > 1:
            done, _ = ray.wait(streams, num_returns=len(streams), timeout=0, fetch_local=False)
        for stream in done:
            self._hear(stream)
        for running in self._running.values():
            if time.monotonic() - running.heard > _patience(running.order.silence_s, running.segment):
                self._wake(running)

    def _hear(self, stream: Any) -> None:
        running = self._running[stream]
        order, segment = running.order, running.segment
        running.heard = time.monotonic()
        try:
            item: Any = ray.get(next(stream))
        except StopIteration:
            self._schedule.done(order.name, segment)
            self._end(stream, lost=False)
        except RayError as error:
            # A node that left says nothing against the segment.
            blame = 0 if self._fleet.gone(running.lane) else 1
            self._end(stream, lost=True)
            if running.committed:
                self._schedule.done(order.name, segment)
            else:
                self._mend(order, segment, error, blame)
        else:
            if isinstance(item, SegmentRecord):
                running.committed = True
                order.records.append(item)
                self._counts.segments += 1
                self._counts.committed += item.frames
            else:
                self._counts.frames += item.frames
            self._tell(order, segment, item)

    def _mend(self, order: _Order, segment: Segment, error: RayError, blame: int) -> None:
        mended, name = cause(error), _name(segment)
        order.lost[name] += blame
        if mended is None and order.lost[name] < ATTEMPTS:
            log.warning("%s: a process died; the segment starts again", _where(order, segment))
            self._counts.lost += 1
            self._schedule.lost(order.name, segment)
            self._tell(order, segment, None)
            return
        self._counts.given_up += 1
        self._schedule.failed(order.name, segment)
        self._fail(order, mended or MediaError(
            f"lost {ATTEMPTS} times: {one_line(error)}", file=order.work.info.url, shot=segment.shot,
            frame=segment.span.first, hint="look for a damaged stream or too little memory, then run the same command again",
        ))  # fmt: skip

    def _wake(self, running: _Running) -> None:
        order, segment = running.order, running.segment
        silent = time.monotonic() - running.heard
        log.warning("%s: no sign of life for %d s; its actors are killed", _where(order, segment), silent)
        order.lost[_name(segment)] += ATTEMPTS // 2 - 1
        running.heard = time.monotonic()
        self._fleet.kill(running.lane)

    def _tell(self, order: _Order, segment: Segment, item: Progress | SegmentRecord | None) -> None:
        try:
            order.report(segment, item)
        except Exception as error:
            self._fail(order, error)

    def _fail(self, order: _Order, error: BaseException) -> None:
        order.failure = order.failure or error
        if not (order.past_damage and isinstance(error, MediaError)):
            self._schedule.stop(order.name)

    def _end(self, stream: Any, *, lost: bool) -> None:
        lane = self._running.pop(stream).lane
        self._fleet.give_back(lane, lost=lost)
        if not lost:
            self._pools.ended(lane)

    def _settle(self) -> None:
        for name, order in list(self._orders.items()):
            if self._schedule.over(name):
                self._schedule.remove(name)
                del self._orders[name]
                if order.failure is not None:
                    order.future.set_exception(order.failure)
                else:
                    order.future.set_result(order.records)


@contextmanager
def driving(settings: PoolSettings, writer: type = Writer) -> Iterator[Driver]:
    """A driver with a fleet of its own, on the Ray there is or on one of its own. ``writer`` keeps what each lane makes.

    Raises:
        ConfigError: no cluster answers at the address.
    """
    with connected(settings):
        driver = Driver(settings, writer)
        try:
            yield driver
        finally:
            driver.close()


def ended() -> ClusterLost:
    """What those hear who wait when a run is ended."""
    return ClusterLost("the run was ended", hint="run the same command again to go on")


def _where(order: _Order, segment: Segment) -> str:
    return f"{redact(order.work.info.url)}, shot {segment.shot} frame {segment.span.first}"


def _name(segment: Segment) -> str:
    return f"{segment.key} {segment.scout}"


def _patience(silence_s: float, segment: Segment) -> float:
    """A leg that runs backward brings nothing before it is whole, however slow the method."""
    return silence_s + SLOWEST_FRAME_S * len(segment.span)


def cause(error: RayError) -> DvcpError | None:
    """The error a person can mend, when one lies at the bottom; None when a process or node was lost."""
    found: BaseException | None = error
    while isinstance(found, RayTaskError):
        found = found.cause
    if isinstance(found, DvcpError):
        return found
    if isinstance(found, RayError) or found is None:
        return None
    reason = str(found).splitlines()[0] if str(found) else ""
    return DvcpError(f"{type(found).__name__}: {reason}", hint="this is a fault of dvcp: please report it")
