"""A progress bar for people, nothing for machines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from dvcp.runtime.actors import Progress as Frames
from dvcp.runtime.plan import Segment
from dvcp.store.ledger import SegmentRecord

Report = Callable[[Segment, Frames | SegmentRecord | None], None]


class _Rate(ProgressColumn):
    """Frames a second over the last two minutes."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.2f} fps" if task.speed else "-- fps")


@contextmanager
def bar(title: str, segments: list[Segment], total: int) -> Iterator[Report]:
    """Frames, shots, frames a second and time left, on stderr when that is a terminal; yields the callback that moves it.

    Args:
        segments: those still to be computed.
        total: frames of the whole film; the finished ones count as done from the start.
    """
    work = [s for s in segments if not s.scout]
    shots = {s.shot: sum(1 for t in work if t.shot == s.shot) for s in work}
    done = total - sum(len(s.span) for s in work)
    under_way: dict[str, int] = {}
    console = Console(stderr=True)
    counts = (MofNCompleteColumn(), TextColumn("frames"), TextColumn("{task.fields[shots]}"))
    columns = (TextColumn("{task.description}"), BarColumn(), *counts, _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), speed_estimate_period=120) as progress:
        task = progress.add_task(title, total=total, completed=done, shots=f"{len(shots)} shots left")

        def report(segment: Segment, item: Frames | SegmentRecord | None) -> None:
            if segment.scout:
                return
            if isinstance(item, Frames):
                under_way[segment.key] = under_way.get(segment.key, 0) + item.frames
                progress.advance(task, item.frames)
            elif item is None:
                progress.advance(task, -under_way.pop(segment.key, 0))
            else:
                shots[segment.shot] -= 1
                progress.update(task, shots=f"{sum(1 for n in shots.values() if n)} shots left")

        yield report


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
