"""What a run tells Prometheus, through Ray's own exporter on every node, and how an actor measures its work.

Ray puts ``ray_`` before each name: ``ray_dvcp_frames_total{pool="decoder"}``. With a plain ``ray`` the numbers go nowhere, at the same
small cost; the exporter comes with ``ray[default]``. What an actor has counted reaches its node every ten seconds, so the last seconds
before its end may be missing there.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from dvcp.store import retry

log = logging.getLogger(__name__)
#: seconds between two times that an actor tells its numbers: one takes 30 us, and a window may be a single frame
_EVERY_S = 1

_made: dict[str, Any] = {}


@dataclass(frozen=True)
class Metric:
    """One number that Prometheus gets.

    Attributes:
        name: with its unit, without Ray's prefix.
        kind: as Prometheus has it.
        help: one line.
        labels: what its values are told apart by.
        bounds: upper ends of a histogram's buckets.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    def tell(self, value: float, **labels: str) -> None:
        """Add ``value`` (counter), show it (gauge) or note it (histogram). Does nothing in a process without Ray, and never raises."""
        ray = sys.modules.get("ray")
        if ray is None or (self.kind == "counter" and value <= 0):
            return
        try:
            if not ray.is_initialized():
                return
            made = _made.get(self.name) or _made.setdefault(self.name, self._make())
            getattr(made, _VERBS[self.kind])(value, labels)
        except Exception:
            # No number is worth a film.
            log.debug("metric %s", self.name, exc_info=True)

    def _make(self) -> Any:
        from ray.util import metrics

        if self.kind == "histogram":
            return metrics.Histogram(self.name, self.help, list(self.bounds), self.labels)
        return (metrics.Counter if self.kind == "counter" else metrics.Gauge)(self.name, self.help, self.labels)


_VERBS = {"counter": "inc", "gauge": "set", "histogram": "observe"}

FRAMES = Metric("dvcp_frames_total", "counter", "Frames a pool has worked on; those coloured from both sides count twice.", ("pool",))
BUSY = Metric("dvcp_busy_seconds_total", "counter", "Time the actors of a pool have worked and not waited, summed over them.", ("pool",))
QUEUE = Metric("dvcp_queue_bytes", "gauge", "Decoded windows and their evidence, waiting or on their way to a lane.", ("lane",))
SEGMENT = Metric(
    "dvcp_segment_seconds", "histogram", "Wall time of a segment, from its first frame to its record in the ledger.",
    bounds=(1, 3, 10, 30, 100, 300, 1000, 3000),
)  # fmt: skip
COMMITTED = Metric("dvcp_segments_committed_total", "counter", "Segments whose records stand in a ledger.")
DONE = Metric("dvcp_frames_committed_total", "counter", "Frames of the segments that were committed.")
LOST = Metric("dvcp_segments_lost_total", "counter", "Segments begun again because a process or node died.")
GIVEN_UP = Metric("dvcp_segments_given_up_total", "counter", "Segments that failed for good: an error, or too many processes lost.")
LANES = Metric("dvcp_lanes", "gauge", "Lanes of a run: up, and wanted.", ("state",))
MATCHERS = Metric("dvcp_matchers", "gauge", "Matchers of a run: up, and wanted.", ("state",))
AT_WORK = Metric("dvcp_segments_at_work", "gauge", "Segments that lanes work on now.")
FILMS = Metric("dvcp_films", "gauge", "Films of a run: asked, open, done, failed.", ("state",))
TO_DO = Metric("dvcp_frames_to_do", "gauge", "Frames of the films looked at so far that are not computed yet.")
SPILLED = Metric("dvcp_spilled_bytes", "gauge", "Bytes that the object stores of the nodes had to put on disk since they were started.")

RETRIES = Metric("dvcp_store_retries_total", "counter", "Store operations that had to be tried again.")

#: all of them
METRICS = (RETRIES, FRAMES, BUSY, QUEUE, SEGMENT, COMMITTED, DONE, LOST, GIVEN_UP, LANES, MATCHERS, AT_WORK, FILMS, TO_DO, SPILLED)


def table() -> str:
    """All metrics as Prometheus knows them, a Markdown table for the manual."""
    rows = [f"| `ray_{m.name}`{_braces(m)} | {m.kind} | {m.help} |" for m in METRICS]
    return "\n".join(["| metric | kind | what |", "|---|---|---|", *rows])


def _braces(metric: Metric) -> str:
    return f" by {', '.join(metric.labels)}" if metric.labels else ""


@dataclass(frozen=True)
class Tally:
    """What one process has done since it began: frames, and seconds it was at work and not waiting."""

    pool: str
    worker: str
    frames: int
    seconds: float


class Meter:
    """Counts what one actor does; tells Prometheus once a second at most."""

    def __init__(self, pool: str) -> None:
        self._pool, self._frames, self._seconds = pool, 0, 0.0
        self._told, self._due, self._queue_due = (0, 0.0, 0), 0.0, 0.0

    def add(self, frames: int, seconds: float) -> None:
        """``frames`` were worked on for ``seconds``."""
        self._frames += frames
        self._seconds += seconds
        if time.monotonic() >= self._due:
            self._tell()

    @contextmanager
    def work(self, frames: int = 0) -> Iterator[None]:
        """The block works on ``frames``, or on some more for frames that are counted elsewhere."""
        began = time.monotonic()
        yield
        self.add(frames, time.monotonic() - began)

    def waiting(self, size: int, lane: str) -> None:
        """``size`` bytes wait for a lane; told once a second at most, except that nothing waits any more."""
        if not size or time.monotonic() >= self._queue_due:
            self._queue_due = time.monotonic() + _EVERY_S
            QUEUE.tell(size, lane=lane)

    def tally(self, worker: str) -> Tally:
        """All so far, which Prometheus hears now too."""
        self._tell()
        return Tally(self._pool, worker, self._frames, self._seconds)

    def _tell(self) -> None:
        frames, seconds, again = self._told
        FRAMES.tell(self._frames - frames, pool=self._pool)
        BUSY.tell(self._seconds - seconds, pool=self._pool)
        RETRIES.tell(retry.again - again)
        self._told, self._due = (self._frames, self._seconds, retry.again), time.monotonic() + _EVERY_S
