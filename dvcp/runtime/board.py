"""Gathers how a run stands, and writes it every few seconds into the folders of its outputs. Nothing here may fail a run."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray

from dvcp.errors import DvcpError
from dvcp.media.source import stem
from dvcp.runtime.meter import FILMS, SPILLED, TO_DO
from dvcp.runtime.plan import Segment
from dvcp.runtime.status import Pool, Status, UnderWay, folder_of, now, tidy
from dvcp.runtime.work import Progress
from dvcp.store import files
from dvcp.store.ledger import SegmentRecord

if TYPE_CHECKING:  # batch imports this module
    from dvcp.runtime.batch import Watch
    from dvcp.runtime.job import Job

log = logging.getLogger(__name__)
#: seconds between two files, and before the first, so that what takes less leaves no trace
EVERY_S, FIRST_S = 5, 1
#: seconds that the end of a run waits for a last file: the store may be away
_LAST_S = 10
#: seconds over which the pools are measured, as they tell their numbers only between segments
_POOLS_S = 600
#: seconds between two questions for what was spilled: each opens a connection
_SPILLED_S = 30
_MOST_NAMES = 20


@dataclass(eq=False)
class Shown:
    """One film, and the :class:`dvcp.runtime.batch.Watch` of it that passes all on."""

    board: Board
    watch: Watch | None
    name: str
    error: bool = False
    frames: int = 0
    left: Counter[int] = field(default_factory=Counter)
    brought: dict[str, int] = field(default_factory=dict)

    def planned(self, job: Job, todo: Sequence[Segment]) -> None:
        """See :class:`dvcp.runtime.batch.Watch`."""
        self.expects(len(job.info.frames), todo)
        if self.watch is not None:
            self.watch.planned(job, todo)

    def expects(self, frames: int, todo: Sequence[Segment]) -> None:
        """It was looked at: it has so many frames, and ``todo`` is left to compute."""
        with self.board.lock:
            self.frames = frames
            for segment in todo:
                if not segment.scout:
                    self.left[segment.shot] += segment.frames

    def report(self, segment: Segment, item: Progress | SegmentRecord | None) -> None:
        """See :class:`dvcp.runtime.batch.Watch`."""
        if not segment.scout:
            with self.board.lock:
                self._count(segment, item)
        if self.watch is not None:
            self.watch.report(segment, item)

    def warned(self, line: str) -> None:
        """See :class:`dvcp.runtime.batch.Watch`."""
        if self.watch is not None:
            self.watch.warned(line)

    def failed(self) -> None:
        """It cannot be finished, though nothing is raised."""
        self.error = True

    def _count(self, segment: Segment, item: Progress | SegmentRecord | None) -> None:
        if isinstance(item, Progress):
            self.brought[segment.key] = self.brought.get(segment.key, 0) + item.frames
            self.board.computed += item.frames
        else:
            self.brought.pop(segment.key, None)
            if item is not None:
                self.left[segment.shot] -= segment.frames
                if self.left[segment.shot] <= 0:
                    del self.left[segment.shot]

    @property
    def to_do(self) -> int:
        """Frames that are not computed yet."""
        return max(0, self.left.total() - sum(self.brought.values()))

    def under_way(self) -> UnderWay:
        """How it stands."""
        shot, left = self.left.most_common(1)[0] if self.left else (0, 0)
        stage = "looked at" if not self.frames else "coloured" if self.left else "joined, verified"
        return UnderWay(self.name, stage, self.frames, self.frames - self.to_do, shot, left)


@dataclass(frozen=True)
class _Closed:
    """A film that is not open any more: the frames of it that are done, and whether it failed."""

    name: str
    frames: int
    failed: bool


class Board:
    """How one run stands. Use as a context manager; safe to use from many threads."""

    def __init__(self, snapshot: Callable[[], Mapping[str, Any] | None]) -> None:
        """
        Args:
            snapshot: as :meth:`dvcp.runtime.driver.Driver.snapshot`, or None while there are no actors.
        """
        self.lock = threading.Lock()
        #: frames that came from the actors, those computed again too
        self.computed = 0
        self._snapshot = snapshot
        self._began, self._clock = now(), time.monotonic()
        self.run = f"{self._began:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
        self._expected = 0
        self._films: dict[str, Shown] = {}
        self._closed: dict[str, _Closed] = {}
        #: by URL, whether a file was written there
        self._folders: dict[str, bool] = {}
        self._samples: deque[tuple[float, int, Mapping[str, tuple[int, float]]]] = deque([(self._clock, 0, {})])
        self._spilled: tuple[float, int | None] = (-_SPILLED_S, None)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="dvcp status", daemon=True)

    def __enter__(self) -> Board:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(_LAST_S)

    def expect(self, films: int) -> None:
        """So many films are asked for in all."""
        self._expected = films

    @contextmanager
    def film(self, source: str, out: str, watch: Watch | None = None) -> Iterator[Shown]:
        """A film is open during the block, and failed when that raises; yields a watch that passes all on to ``watch``."""
        one = Shown(self, watch, stem(source))
        with self.lock:
            self._films[source] = one
            self._closed.pop(source, None)  # it is tried again
            self._folders.setdefault(folder_of(out), False)
        try:
            yield one
        except BaseException:
            one.failed()
            raise
        finally:
            with self.lock:
                del self._films[source]
                self._closed[source] = _Closed(one.name, one.frames - one.to_do, one.error)

    def status(self, ended: bool = False) -> Status:
        """How it stands now."""
        there = self._snapshot() or {}
        at, pools = time.monotonic(), there.get("pools", {})
        queue, spilled = self._stores() if there and not ended else (None, None)
        with self.lock:
            films, closed = list(self._films.values()), list(self._closed.values())
            failures = [film.name for film in closed if film.failed]
            self._samples.append((at, self.computed, pools))
            while self._samples[0][0] < at - _POOLS_S:
                self._samples.popleft()
            to_do = sum(film.to_do for film in films)
            done = sum(film.frames for film in closed) + sum(film.frames - film.to_do for film in films)
            seen = len(closed) + sum(1 for film in films if film.frames)
            asked, told = max(self._expected, len(closed) + len(films)), _iso(now())
            status = Status(
                run=self.run, host=socket.gethostname(), pid=os.getpid(),
                began=_iso(self._began), updated=told, ended=told if ended else "",
                asked=asked, open=len(films), done=len(closed) - len(failures), failed=len(failures),
                failures=tuple(failures[:_MOST_NAMES]), frames_done=done, frames_to_do=to_do,
                fps_minute=round(self._rate(60), 2), fps=round(self.computed / max(at - self._clock, 1e-3), 2),
                pools=self._pools(there), queue_bytes=queue, spilled_bytes=spilled,
                under_way=tuple(film.under_way() for film in films[:_MOST_NAMES]), left_s=self._left(asked, seen, done, to_do),
                **{name: there[name] for name in ("segments", "lost", "given_up", "lanes", "matchers") if name in there},
            )  # fmt: skip
        for state in ("asked", "open", "done", "failed"):
            FILMS.tell(getattr(status, state), state=state)
        TO_DO.tell(status.frames_to_do)
        return status

    def _rate(self, seconds: float) -> float:
        at, computed, _ = self._samples[-1]
        then, before, _ = next(sample for sample in self._samples if sample[0] >= at - seconds)
        return (computed - before) / (at - then) if at > then else 0.0

    def _left(self, asked: int, seen: int, done: int, to_do: int) -> int | None:
        """Seconds left: films not looked at yet are taken to be as long as the others."""
        rate = self._rate(_POOLS_S)
        if not rate or not seen:
            return None
        return int((to_do + (asked - seen) * (done + to_do) / seen) / rate)

    def _pools(self, there: Mapping[str, Any]) -> dict[str, Pool]:
        at, _, totals = self._samples[-1]
        then, _, before = self._samples[0]
        elapsed, made = max(at - then, 1e-3), {}
        for name, (frames, seconds) in sorted(totals.items()):
            old, worked = before.get(name, (0, 0.0))
            actors = max(1, there.get("matchers" if name == "matcher" else "lanes", (1, 1))[0])
            # A segment's numbers come when it ends, so they may be of more time than this.
            busy = min(1.0, (seconds - worked) / elapsed / actors)
            made[name] = Pool(frames, round((frames - old) / elapsed, 2), round(busy, 3))
        return made

    def _stores(self) -> tuple[int | None, int | None]:
        """Bytes in the cluster's object stores, and bytes they have spilled; None where nobody can tell."""
        queue, (asked, spilled) = None, self._spilled
        with suppress(Exception):
            name = "object_store_memory"
            queue = int(ray.cluster_resources().get(name, 0) - ray.available_resources().get(name, 0))
        if time.monotonic() - asked > _SPILLED_S:
            try:
                # What `ray memory --stats-only` asks; there is no public way, and without ray[default] there is none at all.
                from ray._private import internal_api, state

                spilled = int(internal_api.get_memory_info_reply(state.state, timeout_seconds=5).store_stats.spilled_bytes_total)
                SPILLED.tell(spilled)
            except Exception:
                log.debug("spilled bytes are not known", exc_info=True)
            self._spilled = (time.monotonic(), spilled)
        return queue, spilled

    def _work(self) -> None:
        wait = FIRST_S
        while not self._stop.wait(wait):
            wait = EVERY_S
            self._write()
        self._write(last=True)

    def _write(self, last: bool = False) -> None:
        try:
            status = self.status(last)
            for folder, begun in list(self._folders.items()):
                url = files.join(folder, f"{self.run}.json")
                # A store that is away is passed over: the next file tells more.
                with suppress(DvcpError):
                    if last and not begun and status.failed:
                        continue
                    if not begun or last:
                        tidy(folder, now(), f"{self.run}.json")
                    self._folders[folder] = True
                    if last and not status.failed:
                        files.remove(url)
                        _drop(folder)
                    else:
                        files.put_bytes(status.to_bytes(), url)
        except Exception:
            log.debug("the status could not be told", exc_info=True)


def _drop(folder: str) -> None:
    path = files.local_path(folder)
    if path is not None:
        with suppress(OSError):  # others are at work there too
            os.rmdir(path)


def _iso(time: Any) -> str:
    return str(time.isoformat(timespec="seconds"))
