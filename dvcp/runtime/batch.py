"""Films one after the other, each with its failures its own: whatever is wrong with one, the others come out as if it were not there.

All reading outside the actors happens in an expendable process, for a damaged file can end the process that reads it, or never come back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace

from dvcp.errors import DvcpError, VerifyError
from dvcp.runtime.actors import Lane
from dvcp.runtime.cluster import connected, lanes
from dvcp.runtime.expendable import Expendable
from dvcp.runtime.job import Job, JobSettings, Report, deliver, prepare, propagate, verify_output

log = logging.getLogger(__name__)
#: shows the progress of one job
Show = Callable[[Job], AbstractContextManager[Report]]


@dataclass(frozen=True)
class Outcome:
    """What became of one film.

    Attributes:
        source, out, ledger: URLs; the last two empty when it did not come so far.
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
            job.settings.source, job.output.file_url, job.output.ledger_url, len(job.info.frames), len(job.info.damaged),
            len(job.shots.shots), len(job.segments), computed, (*job.warnings, *late),
        )  # fmt: skip

    @classmethod
    def failed(cls, source: str, error: Exception) -> Outcome:
        """Of a film that could not be finished; an error that dvcp did not foresee is logged whole."""
        if isinstance(error, DvcpError):
            return cls(source, error=str(error), exit_code=error.exit_code)
        log.error("%s", source, exc_info=error)
        reason = " ".join(str(error).split())
        return cls(source, error=f"{source}: {type(error).__name__}: {reason} (this is a fault of dvcp: please report it)", exit_code=1)


def colour_film(
    settings: JobSettings, child: Expendable, show: Show, say: Callable[[str], None], free: Callable[[], Sequence[Lane]]
) -> Outcome:
    """One film from source to verified output.

    Args:
        child: where files are read.
        show: its progress.
        say: gets every warning as soon as it is known.
        free: the actors, asked for when there is something to compute.

    Raises:
        DvcpError: of the kind that says what is wrong; finished segments stay.
    """
    job = child.call(prepare, settings, file=settings.source)
    for warning in job.warnings:
        say(warning)
    todo = job.todo()
    with show(job) as report:
        computed = len(propagate(job, report, free())) if todo else 0
    late = child.call(deliver, job, file=settings.source)
    for warning in late:
        say(warning)
    _, problems = child.call(verify_output, job.output.file_url, settings.source, file=job.output.file_url)
    refuse(problems, job.output.file_url)
    return Outcome.of(job, computed, late)


def refuse(problems: Sequence[str], out: str) -> None:
    """Raise VerifyError when ``out`` has problems: the first of them, and how many more there are."""
    if problems:
        rest = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise VerifyError(problems[0] + rest, file=out, hint="the output is not what it should be; keep it apart")


def colour_films(settings: JobSettings, films: Sequence[str], show: Show, say: Callable[[str], None]) -> Iterator[Outcome]:
    """Colour ``films`` as ``settings`` say, all into one folder; yields what became of each."""
    with ExitStack() as stack:
        child = stack.enter_context(Expendable(settings.silence_s))
        started: list[Lane] = []

        def free() -> Sequence[Lane]:
            # A start of actors costs seconds: once for all films, and not at all where nothing is left to compute.
            if not started:
                stack.enter_context(connected(settings.pools))
                started.extend(stack.enter_context(lanes(settings.pools)))
            return started

        for film in films:
            try:
                yield colour_film(replace(settings, source=film), child, show, say, free)
            except Exception as error:
                yield Outcome.failed(film, error)
