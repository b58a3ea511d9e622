"""Films side by side, each with its failures its own: whatever is wrong with one, the others come out as if it were not there.

All reading outside the actors happens in processes that may die, for a damaged file can end the process that reads it, or never come back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

from dvcp.errors import DvcpError, VerifyError
from dvcp.runtime.board import Board
from dvcp.runtime.cluster import connected
from dvcp.runtime.driver import Driver, driving, ended
from dvcp.runtime.job import Job, JobSettings, deliver, prepare, propagate, verify_output
from dvcp.runtime.plan import Segment
from dvcp.runtime.readers import Readers, readers
from dvcp.runtime.settings import PoolSettings
from dvcp.runtime.work import Progress
from dvcp.store.ledger import SegmentRecord
from dvcp.store.secrets import redact

log = logging.getLogger(__name__)
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """What became of one film.

    Attributes:
        source, out, ledger: URLs, what is secret in them hidden; the last two empty when it did not come so far.
        frames: of the film; ``damaged`` of them are delivered as plain gray.
        shots, segments: it was cut into.
        computed: segments computed now; the others were there.
        warnings: what a person should look at.
        error: why it failed, "" when it did not.
        exit_code: of a command with this film alone.
    """

    source: str
    out: str = ""
    ledger: str = ""
    frames: int = 0
    damaged: int = 0
    shots: int = 0
    segments: int = 0
    computed: int = 0
    warnings: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0

    @classmethod
    def of(cls, job: Job, computed: int, late: Sequence[str]) -> Outcome:
        """Of a job that was finished."""
        return cls(
            redact(job.settings.source), job.output.file_url, job.output.ledger_url, len(job.info.frames), len(job.info.damaged),
            len(job.shots.shots), len(job.segments), computed, tuple(redact(line) for line in (*job.warnings, *late)),
        )  # fmt: skip

    @classmethod
    def failed(cls, source: str, error: Exception) -> Outcome:
        """Of a film that could not be finished; an error that dvcp did not foresee is logged whole."""
        if isinstance(error, DvcpError):
            return cls(redact(source), error=redact(str(error)), exit_code=error.exit_code)
        log.error("%s", redact(source), exc_info=error)
        reason, source = redact(" ".join(str(error).split())), redact(source)
        return cls(source, error=f"{source}: {type(error).__name__}: {reason} (this is a fault of dvcp: please report it)", exit_code=1)


class Watch(Protocol):
    """Whoever wants to know how one film stands."""

    def planned(self, job: Job, todo: Sequence[Segment]) -> None:
        """It was looked at: what there is, and what is left to compute."""

    def report(self, segment: Segment, item: Progress | SegmentRecord | None) -> None:
        """See :meth:`dvcp.runtime.driver.Driver.run`; called from another thread."""

    def warned(self, line: str) -> None:
        """Something a person should look at, as soon as it is known."""


class Crew:
    """Readers and actors for many films at once, from :func:`crew`; safe to use from many threads."""

    def __init__(self, pools: PoolSettings, at: Readers, stack: ExitStack) -> None:
        self._pools, self._readers, self._stack = pools, at, stack
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._closed = False
        #: how it stands, for :mod:`dvcp.runtime.status`
        self.board = Board(lambda: self._driver.snapshot() if self._driver else None)

    def read(self, function: Callable[..., R], *args: Any, file: str, **kwargs: Any) -> R:
        """Run what reads ``file`` in a process that may die, see :class:`dvcp.runtime.readers.Readers`."""
        return self._readers.call(function, *args, file=file, **kwargs)

    def driver(self) -> Driver:
        """The actors: their start costs seconds, so it happens once for all films, and not at all where nothing is left to compute."""
        with self._lock:
            if self._closed:
                raise ended()
            if self._driver is None:
                self._driver = self._stack.enter_context(driving(self._pools))
            return self._driver

    def close(self) -> None:
        """Start no actors any more: a film that comes this far after the end would start a Ray that nobody ends."""
        with self._lock:
            self._closed = True

    def colour(self, settings: JobSettings, watch: Watch) -> Outcome:
        """One film from source to verified output.

        Raises:
            DvcpError: of the kind that says what is wrong; finished segments stay.
        """
        with self.board.film(settings.source, settings.out, watch) as watched:
            return self._colour(settings, watched)

    def _colour(self, settings: JobSettings, watch: Watch) -> Outcome:
        job = self.read(prepare, settings, file=settings.source)
        for warning in job.warnings:
            watch.warned(redact(warning))
        todo = job.todo()
        watch.planned(job, todo)
        computed = len(propagate(job, watch.report, self.driver(), todo)) if todo else 0
        late = self.read(deliver, job, file=settings.source)
        for warning in late:
            watch.warned(redact(warning))
        _, problems = self.read(verify_output, job.output.file_url, settings.source, file=job.output.file_url)
        refuse(problems, job.output.file_url)
        return Outcome.of(job, computed, late)


@contextmanager
def crew(pools: PoolSettings, silence_s: float, films: int = 1) -> Iterator[Crew]:
    """Readers for ``films`` films at once, and actors as soon as any film needs them.

    With an address the readers are spread over that cluster, else they are processes of this machine.
    """
    with ExitStack() as stack:
        if pools.address:
            stack.enter_context(connected(pools))
        at_work = Crew(pools, stack.enter_context(readers(films, silence_s, pools if pools.address else None)), stack)
        try:
            with at_work.board:
                yield at_work
        finally:
            at_work.close()


def refuse(problems: Sequence[str], out: str) -> None:
    """Raise VerifyError when ``out`` has problems: the first of them, and how many more there are."""
    if problems:
        rest = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise VerifyError(problems[0] + rest, file=out, hint="the output is not what it should be; keep it apart")


def colour_films(settings: JobSettings, films: Sequence[str], watch: Callable[[str], Watch], at_once: int = 2) -> Iterator[Outcome]:
    """Colour ``films`` as ``settings`` say, all into one folder; yields what became of each, as they end.

    Args:
        watch: makes the one who wants to know how a film stands.
        at_once: films open at a time: while one is coloured, others are looked at, joined and verified.
    """
    at_once = min(at_once, len(films))
    with crew(settings.pools, settings.silence_s, at_once) as at_work:
        at_work.board.expect(len(films))

        def one(film: str) -> Outcome:
            try:
                return at_work.colour(replace(settings, source=film), watch(film))
            except Exception as error:
                return Outcome.failed(film, error)

        pool = ThreadPoolExecutor(at_once)
        try:
            for ended in as_completed([pool.submit(one, film) for film in films]):
                yield ended.result()
        finally:
            # Ctrl-C: the films under way end when their actors are killed on the way out, not hours later.
            pool.shutdown(wait=False, cancel_futures=True)
