"""A progress bar for people, nothing for machines."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from dvcp.media.source import stem
from dvcp.runtime.plan import Segment
from dvcp.runtime.work import Progress as Frames
from dvcp.store.ledger import SegmentRecord

if TYPE_CHECKING:  # both import this module
    from dvcp.runtime.batch import Watch
    from dvcp.runtime.job import Job


class _Rate(ProgressColumn):
    """Frames a second over the last two minutes."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f} fps" if task.speed else "-- fps")


class _Row:
    """The row of one film: frames, shots left, frames a second and time left; those of an earlier run count as done from the start."""

    def __init__(self, progress: Progress, title: str, say: Callable[[str], None]) -> None:
        self._progress, self._title, self._say = progress, title, say
        self._under_way: dict[str, int] = {}
        self._left: dict[int, int] = {}
        self._task: TaskID | None = None

    def planned(self, job: Job, todo: Sequence[Segment]) -> None:
        work, total = [s for s in todo if not s.scout], len(job.info.frames)
        self._left = dict(Counter(s.shot for s in work))
        if work:
            done = total - sum(s.frames for s in work)
            self._task = self._progress.add_task(self._title, total=total, completed=done, shots=f"{len(self._left)} shots left")

    def report(self, segment: Segment, item: Frames | SegmentRecord | None) -> None:
        if segment.scout or self._task is None:
            return
        if isinstance(item, Frames):
            self._under_way[segment.key] = self._under_way.get(segment.key, 0) + item.frames
            self._progress.advance(self._task, item.frames)
        elif item is None:
            self._progress.advance(self._task, -self._under_way.pop(segment.key, 0))
        else:
            self._left[segment.shot] -= 1
            shots = sum(1 for count in self._left.values() if count)
            # A film that is done makes room: a night has thousands.
            self._progress.update(self._task, shots=f"{shots} shots left", visible=shots > 0)

    def warned(self, line: str) -> None:
        self._say(line)


@contextmanager
def film_rows(say: Callable[[str], None]) -> Iterator[Callable[[str], Watch]]:
    """A row for each film under way, on stderr when that is a terminal; yields what makes the watch of a film (URL).

    Args:
        say: gets every warning.
    """
    counts = (MofNCompleteColumn(), TextColumn("frames"), TextColumn("{task.fields[shots]}"))
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), speed_estimate_period=120) as progress:
        yield lambda film: _Row(progress, stem(film), say)


@contextmanager
def frames_bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Frames of one film that are read; yields a callback that takes how many were read so far."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("frames"), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def films_bar(films: int) -> Iterator[Callable[[str, int, int], None]]:
    """The same for many films at once; yields a callback (film, frames done since the last call, frames found to do)."""
    console = Console(stderr=True)
    counts = (MofNCompleteColumn(), TextColumn("frames of {task.fields[seen]} of {task.fields[films]} films"))
    columns = (BarColumn(), *counts, _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), speed_estimate_period=120) as progress:
        task = progress.add_task("films", total=0, seen=0, films=films)
        seen: set[str] = set()
        total, lock = 0, Lock()

        def report(film: str, done: int, found: int) -> None:
            nonlocal total
            with lock:
                seen.add(film)
                total += found
                progress.update(task, advance=done, total=total, seen=len(seen))

        yield report
