"""A plan for people, in figures no finer than they are known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dvcp.planning.calibration import Calibration
from dvcp.planning.estimate import Plan
from dvcp.planning.ranges import Range

_BYTES = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def as_json(plan: Plan, calibration: Calibration, failed: dict[str, str], stills: int | None) -> dict[str, Any]:
    """All of a plan as JSON types, ranges as ``low``, ``middle``, ``high``."""
    data = asdict(plan)
    data["duration"] = str(plan.duration)
    return data | {"unreadable": failed, "stills": stills, "calibration": calibration.to_json()}


def as_text(plan: Plan, calibration: Calibration, failed: dict[str, str], stills: int | None) -> str:
    """A plan as lines, what the films hold first, then what they take."""
    crew, guessed = plan.crew, plan.frames - plan.announced
    nights = " to ".join(str(n) for n in sorted({plan.nights[0], plan.nights[2]}))
    machines = f"{crew.gpus} GPUs" if crew.gpus else f"{crew.cores} cores"
    lines = [
        ("films", f"{plan.films}" + (f", and {len(failed)} that cannot be read (below)" if failed else "")),
        ("length", f"{_hours(float(plan.duration) / 3600)}, {_count(plan.frames)} frames, {_count(guessed)} of them by duration alone"),
        ("shots", f"{_range(plan.shots)}, from {plan.stretches} stretches, {_count(plan.sampled_frames)} frames in all"),
        *([("stills there", str(stills))] if stills is not None else []),
        ("segments", _range(plan.segments)),
        ("read in", _bytes(plan.source_bytes)),
        ("output", f"{_byte_range(plan.bytes_out)}, and its segments as much again"),
        ("store", f"{_byte_range(plan.bytes_read)} read, {_byte_range(plan.bytes_written)} written, {_range(plan.requests)} requests"),
        *([("GPU-hours", _decimal(plan.device_hours))] if crew.gpus else []),
        ("CPU-hours", _decimal(plan.core_hours)),
        ("time", f"{_time(plan.hours)} with {machines}, {crew.lanes} propagators: {_figure(plan.fps)} frames/s over all"),
        ("nights", f"{nights} of {crew.hours_a_night:g} hours"),
        *((f"cost, {name}", f"{_decimal(part)} {plan.rates.currency}") for name, part in plan.cost.items()),
        ("prices", plan.rates.of),
        ("calibration", f"{calibration.origin}, {calibration.method} as {calibration.profile}, on {calibration.machine}"),
    ]
    whole = sum(plan.stages.values())
    parts = ", ".join(f"{name} {part / whole:.0%}" for name, part in plan.stages.items())
    text = [f"{name:22} {value}" for name, value in lines]
    text += ["", f"of the time one film after the other: {parts}", "ranges: 10th to 90th percentile of what the sample leaves open"]
    return "\n".join(text + [f"unreadable: {line}" for line in failed.values()])


def _figure(value: float) -> str:
    """Three figures."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _range(found: Range) -> str:
    low, high = _two(found.low), _two(found.high)
    return low if low == high else f"{low} to {high}"


def _two(value: float) -> str:
    """Two figures of what was estimated."""
    return f"{float(f'{value:.2g}'):,.0f}"


def _decimal(found: Range) -> str:
    low, high = (f"{value:.2g}" if value < 100 else _two(value) for value in (found.low, found.high))
    return low if low == high else f"{low} to {high}"


def _hours(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.2g} s"
    return f"{hours * 60:.2g} min" if hours < 1 else (f"{hours:.2g} h" if hours < 100 else f"{_two(hours)} h")


def _time(found: Range) -> str:
    low, high = _hours(found.low), _hours(found.high)
    return low if low == high else f"{low} to {high}"


def _bytes(size: float) -> str:
    for unit, name in _BYTES:
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:.0f} B"


def _byte_range(found: Range) -> str:
    low, high = (_bytes(float(f"{value:.2g}")) for value in (found.low, found.high))
    return low if low == high else f"{low} to {high}"
