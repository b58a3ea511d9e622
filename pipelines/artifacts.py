"""What an operator sees of a run: progress, a table of films, what to look at, pictures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import cast
from uuid import UUID

from prefect.artifacts import (
    create_image_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from dvcp.runtime.batch import Outcome
from dvcp.store import files
from dvcp.store.catalogue import Asset, AssetState
from dvcp.store.output import Output
from dvcp.store.secrets import redact

#: rows of a table and lines of a list: a browser shows no 100,000, and the catalogue has them all
MOST = 500
#: seconds between two updates of a progress bar
EVERY_S = 5


class ProgressBar:
    """A bar from 0 to 100 % over the films of a run."""

    def __init__(self, films: int, key: str) -> None:
        self._films, self._due = films, 0.0
        self._bar = cast(UUID, create_progress_artifact(0.0, key=key, description=f"{films} films to do"))

    def show(self, done: float, *, last: bool = False) -> None:
        """Show ``done`` of the films, at most every few seconds but for the last time."""
        if last or time.monotonic() >= self._due:
            self._due = time.monotonic() + EVERY_S
            share = min(1.0, done / self._films) if self._films else 1.0
            update_progress_artifact(self._bar, round(100 * share, 1), f"{done:.1f} of {self._films} films")


def show_picture(url: str, name: str, truth: bool) -> None:
    """The before/after picture at ``url``: shown where a browser can open it, else how to get it."""
    columns = "gray | coloured" + (" | truth" if truth else "")
    if url.startswith(("http://", "https://")):
        create_image_artifact(image_url=url, description=f"{name}: {columns}")
    elif (path := files.local_path(url)) is not None:
        create_image_artifact(image_url=f"file://{path}", description=f"{name}: {columns}, {path} on the worker's machine")
    else:
        # No signed link: it would stand in the server's database for whoever reads that.
        how = f"\n\nA link for an hour, made by whoever has the keys:\n\n    aws s3 presign {url} --expires-in 3600\n"
        create_markdown_artifact(f"{name}: {columns}\n\n`{url}`{how if url.startswith('s3://') else ''}", description=f"{name}: picture")


def show_films(outcomes: Sequence[Outcome]) -> None:
    """A table of what became of every film of a run, the failed ones first."""
    rows = [
        {"film": o.source, "out": o.out, "frames": o.frames, "damaged": o.damaged, "shots": o.shots, "computed": o.computed,
         "reused": o.segments - o.computed, "warnings": len(o.warnings), "error": redact(o.error),
         "report": Output(o.out).report_url("provenance.json") if o.out else ""}
        for o in sorted(outcomes, key=lambda o: not o.error)
    ]  # fmt: skip
    create_table_artifact(table=rows[:MOST], key="colorize-archive", description=f"What became of every film{_of_all(len(rows))}")


def show_doubts(outcomes: Sequence[Outcome]) -> None:
    """A list of what a person should look at."""
    doubts = [f"- {redact(warning)}" for outcome in outcomes for warning in outcome.warnings]
    if doubts:
        create_markdown_artifact("\n".join(doubts[:MOST]), key="colorize-warnings", description=f"What to look at{_of_all(len(doubts))}")


def show_archive(catalogue: str, counts: Mapping[AssetState, int], given_up: Sequence[Asset]) -> None:
    """How the whole archive stands, and which films are left alone because they failed too often."""
    lines = ["| state | films |", "|---|---|", *(f"| {state.value} | {count} |" for state, count in counts.items())]
    if given_up:
        lines += ["", "Left alone after failing too often (try again: `retry_failed`):", ""]
        lines += [f"- {asset.error}" for asset in given_up[:MOST]]
    lines += ["", f"All films: `{catalogue}`"]
    create_markdown_artifact("\n".join(lines), key="colorize-catalogue", description="How the archive stands")


def _of_all(count: int) -> str:
    return f" ({MOST} of {count})" if count > MOST else ""
