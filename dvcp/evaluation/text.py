"""What the tables of every evaluation share: means over what is known, cells, rows and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dvcp.evaluation.aged import wear


def complete(done: Sequence[tuple[str, str]]) -> list[str]:
    """Of (subject, method) pairs: the subjects measured with every method that was measured at all, in their order.

    Means go over these alone, so that methods compare.
    """
    methods = {method for _, method in done}
    found: dict[str, set[str]] = {}
    for subject, method in done:
        found.setdefault(subject, set()).add(method)
    return [subject for subject, its in found.items() if its == methods]


def mean_known(values: Iterable[float | None]) -> float | None:
    """Mean of what is not None; None when nothing is left."""
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None


def known(value: float | None, places: int) -> str:
    """A number with so many decimals, or a dash."""
    return "-" if value is None else f"{value:.{places}f}"


def row(cells: Iterable[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def footer(methods: Mapping[str, str], weights: Mapping[str, str], notes: Iterable[str], failed: Iterable[str]) -> list[str]:
    """Lines under a table: what was measured (digests of methods and of their weights), how, and what could not be."""
    of = {name: f", weights {digest[:16]}" for name, digest in weights.items()}
    lines = [f"- {name}: {digest[:16]}{of.get(name, '')}" for name, digest in methods.items()]
    return [*lines, *(f"- {note}" for note in notes), *(f"- FAILED {line}" for line in failed)]


def aged_note(seed: int | None) -> list[str]:
    """The note on clips whose luma was given wear."""
    return [] if seed is None else [f"luma, of the result and of the truth alike, aged: {wear(seed)}"]


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A CSV file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    # six decimals: more only makes two machines' tables differ in the last digits
    writer.writerows([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in row] for row in rows)
    return out.getvalue()
