"""One film as a task: its stages in the log, its progress in numbers, its picture among the artifacts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

from prefect import get_run_logger

from dvcp.errors import ClusterLost
from dvcp.runtime.batch import Crew, Outcome
from dvcp.runtime.job import Job, JobSettings
from dvcp.runtime.picture import before_after
from dvcp.runtime.plan import Segment
from dvcp.runtime.work import Progress
from dvcp.store.ledger import SegmentRecord
from dvcp.store.output import Output
from dvcp.store.secrets import redact
from pipelines.artifacts import show_picture
from pipelines.steps import step


class Shares:
    """How much of each film under way is coloured, from 0 to 1; written by the films' watchers, read by the flow."""

    def __init__(self) -> None:
        self._lock, self._of = threading.Lock(), dict[str, float]()

    def set(self, source: str, share: float) -> None:
        """Say how far a film is."""
        with self._lock:
            self._of[source] = share

    def drop(self, source: str) -> None:
        """Forget a film that has ended."""
        with self._lock:
            self._of.pop(source, None)

    def total(self) -> float:
        """Films' worth of work done among those under way."""
        with self._lock:
            return sum(self._of.values())


class FilmWatch:
    """Tells the task's log how one film stands. Made in the task's thread, for the log knows the task from there; called from any."""

    def __init__(self, source: str, shares: Shares) -> None:
        self._logger, self._context, self._source, self._shares = get_run_logger(), copy_context(), source, shares
        self._total = self._done = 0

    def planned(self, job: Job, todo: Sequence[Segment]) -> None:
        """It was looked at."""
        self._total, segments = len(todo), len(job.segments)
        frames, shots = len(job.info.frames), len(job.shots.shots)
        self._say(logging.INFO, "looked at: %d frames, %d shots, %d segments, %d to compute", frames, shots, segments, len(todo))

    def report(self, segment: Segment, item: Progress | SegmentRecord | None) -> None:
        """A segment brings frames, is finished, or was lost."""
        if item is None:
            self._say(logging.WARNING, "shot %d, frame %d: a process died, the segment starts again", segment.shot, segment.span.first)
        elif isinstance(item, SegmentRecord):
            self._done += 1
            self._shares.set(self._source, self._done / max(1, self._total))
            done, speed = f"{self._done} of {self._total}", item.frames / max(item.seconds, 1e-3)
            self._say(logging.INFO, "shot %d: segment %s, %d frames, %.2f frames/s", segment.shot, done, item.frames, speed)

    def warned(self, line: str) -> None:
        """Something a person should look at."""
        self._say(logging.WARNING, "%s", redact(line))

    def _say(self, level: int, line: str, *values: object) -> None:
        # Prefect's settings are the task's: in another thread it knows no server, and starts one of its own.
        self._context.copy().run(self._logger.log, level, line, *values)


@step("colorize film", run_name="{name}")
def film_step(name: str, at_work: Crew, settings: JobSettings, shares: Shares, truth: str | None) -> Outcome:
    """Colour one film, from probing to proof, and leave a before/after picture beside the output.

    Raises:
        DvcpError: of the kind that says what is wrong; finished segments stay.
    """
    outcome = at_work.colour(settings, FilmWatch(settings.source, shares))
    get_run_logger().info("delivered and verified: %s, %d of %d segments computed now", outcome.out, outcome.computed, outcome.segments)
    picture = Output(outcome.out).report_url("report.png")
    at_work.read(before_after, settings.source, outcome.out, picture, truth=truth, file=settings.source)
    show_picture(picture, name, truth is not None)
    return outcome


def ended(source: str, result: Any) -> Outcome:
    """The outcome of a task: what it returned, or what its last attempt raised.

    Raises:
        ClusterLost: the task ended in it, which says nothing of the film.
    """
    if isinstance(result, ClusterLost):
        raise result
    if isinstance(result, Outcome):
        return result
    return Outcome.failed(source, result if isinstance(result, Exception) else RuntimeError(str(result)))
