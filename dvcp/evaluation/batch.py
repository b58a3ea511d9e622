"""Every method on every subject: what fails is listed and the rest goes on, what is measured is kept at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dvcp.errors import ConfigError, DvcpError, MediaError
from dvcp.evaluation.painted import Painted
from dvcp.media.source import VIDEO_SUFFIXES
from dvcp.methods import create
from dvcp.methods.base import Method, Trained
from dvcp.store import files

log = logging.getLogger(__name__)

Subject = TypeVar("Subject")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure.

    Attributes:
        clips: folder (path or URL) of colour clips, one shot each.
        methods: names, as :func:`dvcp.methods.create` takes them.
        frames: frames to measure, 1 or more: those after the painted first one, or from the first on where none is painted; a shorter clip
            gives what it has.
        out: folder (path or URL) for results. Items found in it are not measured again.
        options: of the methods made of networks, e.g. ``{"weights": "w.safetensors"}``.
        painted: frames given in colour.
        aged: seed of the wear the clips' luma is given before methods see it, see :mod:`dvcp.evaluation.aged`; None leaves it as it is.
    """

    clips: str
    methods: tuple[str, ...]
    frames: int = 50
    out: str = "evaluation"
    options: Mapping[str, Any] = field(default_factory=dict)
    painted: Painted = Painted.FIRST
    aged: int | None = None

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ConfigError(f"cannot measure {self.frames} frames", hint="give 1 or more")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"cannot measure the methods {list(self.methods)}", hint="name one or more, each once")

    def load(self) -> dict[str, Method]:
        """The methods by name, weights loaded. Raises ConfigError (unknown method, one that needs a painted frame where there is none) and
        WeightsError."""
        methods = {name: create(name, **self.options) for name in self.methods}
        if self.painted is Painted.NONE and (needy := [name for name, method in methods.items() if not method.automatic]):
            message = f"cannot measure {', '.join(needy)} with no frame painted: not automatic"
            raise ConfigError(message, hint="--painted first or ends, or name other --methods")
        for method in methods.values():
            if isinstance(method, Trained):
                method.load()
        return methods


def suited(names: Sequence[str], painted: Painted, *, borrowing: bool) -> list[str]:
    """Of ``names``, the methods that can be measured: with pictures of other clips (``borrowing``), or with these frames painted."""
    made = {name: create(name) for name in names}
    return [name for name, m in made.items() if (m.borrows if borrowing else m.automatic or painted is not Painted.NONE)]


def find_clips(folder: str) -> list[str]:
    """URLs of the videos in a folder, sorted by name.

    Raises:
        ConfigError: there are none.
    """
    names = [name for name in files.list_names(folder) if name.lower().endswith(VIDEO_SUFFIXES)]
    if not names:
        raise ConfigError("holds no video files to measure on", file=folder, hint="give a folder of clips, one shot each")
    return [files.join(folder, name) for name in names]


def measure_all(
    subjects: Mapping[str, Callable[[], Subject]],
    methods: Mapping[str, Method],
    measure: Callable[[Subject, str, Method], Result],
    describe: Callable[[Result], str],
    *,
    progress: bool,
) -> tuple[list[Result], list[str]]:
    """Results of every method on every subject, and a line for each subject, or subject and method, that could not be measured.

    Args:
        subjects: by what a line calls them; each is made when its turn comes and dropped after it, for it may hold a decoded film.
        measure: subject, method name, method -> result.
        describe: a result in one line.
        progress: show a bar and a line for each result on standard error; without it the lines go to the log.

    Raises:
        DvcpError: weights or storage; a film that cannot be read (MediaError) is listed.
    """
    results: list[Result] = []
    failed: list[str] = []
    with _reporting(len(subjects) * len(methods), progress) as report:
        for called, make in subjects.items():
            subject = make()
            for done, (name, method) in enumerate(methods.items()):
                try:
                    result = measure(subject, name, method)
                except MediaError as error:
                    failed.append(str(error) if error.file == called else f"{called}: {error}")
                    report(f"FAILED {failed[-1]}", len(methods) - done)
                    break
                except DvcpError:
                    raise  # weights or storage: every other subject would fail the same way
                except Exception as error:
                    # a night of measuring must not be lost to what a network makes of one clip, such as running out of memory
                    log.debug("%s with %s", called, name, exc_info=True)
                    failed.append(f"{called}, {name}: {type(error).__name__}: {' '.join(str(error).split())}")
                    report(f"FAILED {failed[-1]}", 1)
                else:
                    results.append(result)
                    report(describe(result), 1)
    return results, failed


def put_tables(tables: Mapping[str, str], out: str) -> None:
    """Write file name -> content into the folder ``out``. Raises StoreError."""
    for name, text in tables.items():
        files.put_bytes(text.encode(), files.join(out, name))


@contextmanager
def _reporting(total: int, progress: bool) -> Iterator[Callable[[str, int], None]]:
    """A function that reports, in one line, how many more pieces of ``total`` are done."""
    if not progress:
        yield lambda line, pieces: log.info(line)
        return
    columns = (TextColumn("evaluate"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("evaluate", total=total)

        def report(line: str, pieces: int) -> None:
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.advance(task, pieces)

        yield report
