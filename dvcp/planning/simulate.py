"""A run simulated event by event: the product's own schedule hands out segments, lanes, GPUs, driver and store take their time for them.

``python -m dvcp.planning.simulate`` makes the tables and the plot of docs/scale.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import simpy

from dvcp.planning.world import Archive, Cluster, Pace, Server
from dvcp.runtime.schedule import Schedule

#: seconds in which the processes of a lane start anew and load their networks
RESTART_S = 30.0
#: bytes that a reader asks the store for at a step of the simulation
PIECE = 1e9
Events = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, eq=False)
class Piece:
    """A simulated segment; a :class:`dvcp.runtime.schedule.Unit`."""

    name: str
    frames: int
    needs: frozenset[str]
    gives: frozenset[str]


@dataclass(frozen=True)
class Result:
    """What came of a simulation.

    Attributes:
        seconds: from start to end, or to where it was stopped.
        frames: coloured; ``segments`` likewise, ``lost`` of them had to be done again.
        rate: frames a second, warming up left out.
        busy: share of that time for which each kind of server worked, 0 to 1.
        tail: seconds at the end, after the last moment at which every lane had work, until the last segment was done.
        done: times each segment was finished, by its name; kept for small runs only.
        order: films in the order their segments began; likewise.
    """

    seconds: float
    frames: int
    segments: int
    lost: int
    rate: float
    busy: dict[str, float]
    tail: float
    done: dict[str, int]
    order: tuple[str, ...]


def film_pieces(name: str, archive: Archive, rng: np.random.Generator) -> list[Piece]:
    """Segments of one film: each part of a long shot needs the state that the one before leaves."""
    left, pieces, shot = archive.frames, list[Piece](), 0
    drawn = iter(np.empty(0))
    while left > 0:
        if (one := next(drawn, None)) is None:
            # Many at a time: one after the other takes longer than the rest of the simulation.
            drawn = iter(rng.lognormal(np.log(archive.shot_median), archive.shot_sigma, 1 + left // round(archive.shot_median)))
            continue
        length = min(left, max(8, round(float(one))))
        parts = [min(archive.segment_frames, length - first) for first in range(0, length, archive.segment_frames)]
        for part, frames in enumerate(parts):
            needs = frozenset({f"{name}-{shot}-{part - 1}"}) if part else frozenset[str]()
            gives = frozenset({f"{name}-{shot}-{part}"}) if part + 1 < len(parts) else frozenset[str]()
            pieces.append(Piece(f"{name}-{shot}-{part}", frames, needs, gives))
        left, shot = left - length, shot + 1
    return pieces


@dataclass
class Simulation:
    """One run. Make it, call :meth:`run` once.

    Attributes:
        archive, cluster, pace: what is simulated.
        until: seconds after which it stops, None = when all is done.
        warm: seconds at the beginning that do not count.
        midway: begin in the middle of a long run: each place for a film holds one that is some way along, and colouring one takes about
            so many seconds. None = begin at the beginning.
        chunk: frames that go through a lane's stages at a step; a multiple of the window is exact enough and quicker.
        keep: remember every segment's end and beginning.
        cut: makes the segments of a film of its name, of the archive and of chance.
    """

    archive: Archive
    cluster: Cluster
    pace: Pace
    until: float | None = None
    warm: float = 0.0
    midway: float | None = None
    chunk: int = 24
    keep: bool = False
    cut: Callable[[str, Archive, np.random.Generator], list[Piece]] = film_pieces
    _frames: int = 0
    _segments: int = 0
    _lost: int = 0
    _done: dict[str, int] = field(default_factory=dict)
    _order: list[str] = field(default_factory=list)
    _ends: list[tuple[float, int]] = field(default_factory=list)
    _idle: int = 0
    _all_at_work: float = 0.0
    _before: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        cluster, env = self.cluster, simpy.Environment()
        self.env = env
        self.rng = np.random.default_rng(cluster.seed)
        self.schedules: list[Schedule[Piece]] = [Schedule() for _ in range(cluster.drivers)]
        self.drivers = [Server() for _ in range(cluster.drivers)]
        self.pipe, self.requests = Server(), Server()
        self.ledgers = [Server() for _ in range(cluster.drivers)]
        self.gpus = [Server() for _ in range(cluster.gpus)]
        self.cores = Server(cluster.cores) if cluster.cores else None
        self.matchers = [Server() for _ in range(cluster.matchers)]
        self.waiting: list[deque[simpy.Event]] = [deque() for _ in range(cluster.drivers)]
        self.left: dict[str, int] = {}
        self.whole: dict[str, simpy.Event] = {}
        self.matched = 0

    def run(self) -> Result:
        """Simulate, and say what came of it."""
        env, cluster = self.env, self.cluster
        names = iter(range(self.archive.films))
        slots = [env.process(self._films(names, k % cluster.drivers)) for k in range(min(cluster.films, self.archive.films))]
        env.process(self._snapshots())
        for lane in range(cluster.lanes):
            env.process(self._lane(lane, lane % cluster.drivers))
        env.run(until=env.all_of(slots) if self.until is None else self.until)
        return self._result()

    # films ------------------------------------------------------------------------------------------------------------------------

    def _films(self, names: Any, driver: int) -> Events:
        """One place for an open film: one film after the other from survey to proof."""
        pace, frames = self.pace, self.archive.frames
        store, size = self.cluster.store, frames * self.archive.bytes_out * self.cluster.rereads
        before, after = frames * pace.prepare + pace.film, frames * (pace.deliver + pace.verify) + size / store.stream
        passed = 0.0 if self.midway is None else float(self.rng.uniform(0, before + self.midway + after))
        if self.midway is None:
            yield self.env.timeout(pace.start)
        for number in names:
            name = f"film{number}"
            # Each open film has a reader of its own, somewhere on the cluster.
            yield self.env.timeout(max(0.0, before - passed))
            yield self._wait(self.pipe.ask(self.env.now, frames * self.archive.bytes_in / self.cluster.store.bandwidth))
            left = 1.0
            if passed > before:
                left = max(0.0, 1 - (passed - before) / (self.midway or 1))
            pieces = self.cut(name, replace(self.archive, frames=max(1, round(frames * left))), self.rng)
            self.left[name], self.whole[name] = len(pieces), self.env.event()
            self.schedules[driver].add(name, pieces)
            self._wake(driver, len(pieces))
            yield self.whole[name]
            self.schedules[driver].remove(name)
            done = max(0.0, passed - before - (self.midway or 0.0)) / after if after else 0.0
            # In pieces, or one film would keep the store from all others for as long as it takes.
            steps = max(1, math.ceil(size / PIECE))
            left = (1 - done) * steps
            while left > 0:
                # A film found midway is somewhere in a piece: whole ones for all would come to the store in one wave.
                part = left % 1 or 1.0
                left = round(left - part)
                yield self.env.timeout(part * frames * (pace.deliver + pace.verify) / steps)
                alone, together = size / steps / store.stream, size / steps / store.bandwidth
                yield self._wait(max(self.env.now + alone, self.pipe.ask(self.env.now, together)))
            passed = 0.0

    # lanes ------------------------------------------------------------------------------------------------------------------------

    def _lane(self, lane: int, driver: int) -> Events:
        """One segment after the other, for ever."""
        schedule, server = self.schedules[driver], self.drivers[driver]
        storing: simpy.Event | None = None
        while True:
            taken = schedule.take()
            if taken is None:
                event = self.env.event()
                self.waiting[driver].append(event)
                if not self._idle:
                    self._all_at_work = self.env.now
                self._idle += 1
                yield event
                self._idle -= 1
                continue
            film, piece = taken
            if self.keep:
                self._order.append(film)
            yield self._wait(server.ask(self.env.now, self.pace.dispatch))
            began = self.env.now
            yield self.env.timeout(self.pace.segment)
            yield from self._colour(lane, piece)
            if self.cluster.mtbf and self.rng.random() < -np.expm1(-(self.env.now - began) / self.cluster.mtbf):
                self._lost += 1
                schedule.lost(film, piece)
                self._wake(driver, 1)
                yield self.env.timeout(RESTART_S)
                continue
            if not self.cluster.overlap:
                yield from self._commit(film, piece, driver, began)
                continue
            # The state stands as soon as it is coloured; the record follows while the lane goes on, one segment behind at most.
            if storing is not None:
                yield storing
            storing = self.env.process(self._commit(film, piece, driver, began))

    def _colour(self, lane: int, piece: Piece) -> Events:
        """Decode, match ahead, propagate, encode: what overlaps in a lane's processes overlaps here."""
        pace, env, gpus = self.pace, self.env, self.gpus
        gpu = gpus[lane % len(gpus)] if gpus else None
        steps = [min(self.chunk, piece.frames - first) for first in range(0, piece.frames, self.chunk)]
        ahead = max(1, self.cluster.ahead * self.archive.window // self.chunk)
        decoded = written = env.now
        pending: deque[simpy.Event] = deque()
        sizes: deque[int] = deque()
        for frames in [*steps, *([0] * ahead)]:
            if frames:
                decoded = self._cpu(max(decoded, env.now), frames * pace.decode)
                pending.append(env.process(self._match(decoded, frames)))
                sizes.append(frames)
            if len(pending) > ahead or (not frames and pending):
                yield pending.popleft()
                size = sizes.popleft()
                ready = gpu.ask(env.now, size * pace.propagate) if gpu else self._cpu(env.now, size * pace.propagate)
                yield self._wait(ready)
                written = self._cpu(max(written, env.now), size * (pace.encode + pace.decode))
        yield self._wait(written)

    def _match(self, decoded: float, frames: int) -> Events:
        """The next matcher in turn, on its GPU."""
        if decoded > self.env.now:
            yield self._wait(decoded)
        self.matched += 1
        number = self.matched % len(self.matchers)
        seconds, now = frames * self.pace.match, self.env.now
        free = self.matchers[number].ask(now, 0.0)
        ready = self.gpus[number % len(self.gpus)].ask(free, seconds) if self.gpus else self._cpu(free, seconds)
        self.matchers[number].ask(ready, 0.0)
        yield self._wait(ready)

    def _commit(self, film: str, piece: Piece, driver: int, began: float) -> Events:
        """File, record, and the driver's hearing of it."""
        store, env = self.cluster.store, self.env
        size = piece.frames * self.archive.bytes_out
        alone = env.now + 2 * store.latency + size / store.stream
        yield self._wait(max(alone, self.pipe.ask(env.now, size / store.bandwidth)))
        yield self._wait(self.requests.ask(env.now, (4 + 1 / self.cluster.batch) / store.requests))
        yield self._wait(self.ledgers[driver].ask(env.now, 1 / self.cluster.batch / store.ledger_rate))
        yield self._wait(self.drivers[driver].ask(env.now, self.pace.event * (4 + env.now - began)))
        self.schedules[driver].done(film, piece)
        self._frames, self._segments = self._frames + piece.frames, self._segments + 1
        self._ends.append((env.now, piece.frames))
        if self.keep:
            self._done[piece.name] = self._done.get(piece.name, 0) + 1
        self.left[film] -= 1
        if not self.left[film]:
            del self.left[film]
            self.whole[film].succeed()
        # The lane itself asks again, too, and what waited for this segment's state is one more.
        self._wake(driver, 1 + len(piece.gives))

    # time -------------------------------------------------------------------------------------------------------------------------

    def _cpu(self, now: float, seconds: float) -> float:
        return self.cores.ask(now, seconds) if self.cores else now + seconds

    def _wait(self, until: float) -> simpy.Event:
        return self.env.timeout(max(0.0, until - self.env.now))

    def _wake(self, driver: int, count: int) -> None:
        """As many lanes as may find work ask again; all of them, for each segment, would take most of the simulation's time."""
        waiting = self.waiting[driver]
        for _ in range(min(count, len(waiting))):
            waiting.popleft().succeed()

    # result -----------------------------------------------------------------------------------------------------------------------

    def _snapshots(self) -> Events:
        yield self.env.timeout(self.warm)
        self._before = self._worked()

    def _groups(self) -> dict[str, list[Server]]:
        groups = {
            "gpu": self.gpus, "driver": self.drivers, "store bandwidth": [self.pipe], "store requests": [self.requests],
            "ledger": self.ledgers, "cores": [self.cores] if self.cores else [],
        }  # fmt: skip
        return {name: servers for name, servers in groups.items() if servers}

    def _worked(self) -> dict[str, float]:
        """Seconds that each kind of server has worked by now."""
        return {name: sum(server.worked(self.env.now) for server in servers) for name, servers in self._groups().items()}

    def _result(self) -> Result:
        end = self.env.now
        # The first films are surveyed before anything can be coloured: that is not the steady state.
        span = max(end - self.warm, 1e-9)
        worked = self._worked()
        busy = {
            name: (worked[name] - self._before.get(name, 0.0)) / span / sum(server.width for server in servers)
            for name, servers in self._groups().items()
        }
        counted = sum(frames for at, frames in self._ends if self.warm < at <= end)
        last = self._ends[-1][0] if self._ends else end
        return Result(
            end, self._frames, self._segments, self._lost, counted / span, busy, max(0.0, last - self._all_at_work), self._done,
            tuple(self._order),
        )  # fmt: skip
