"""What an archive keeps beside a master: how it was made, from what, and the exact PTS of every frame."""

from __future__ import annotations

import json
import platform
import socket
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from types import MappingProxyType
from typing import Any

import numpy as np

from dvcp.errors import StoreError
from dvcp.store import files
from dvcp.store.ledger import AS_IT_IS, BY_FIELDS, SegmentRecord
from dvcp.store.output import Output
from dvcp.store.secrets import redacted
from dvcp.timing import FrameTable, Span

#: of ``provenance.json``; 2 added what each shot was made with, and the identity of each segment
FORMAT = 2
_PACKAGES = ("dvcp", "torch", "av", "ray", "numpy")


def environment() -> dict[str, str]:
    """Versions, host and devices of this process; the ``made_by`` of a segment record. Imports nothing heavy."""
    found = {"python": platform.python_version(), "host": socket.gethostname(), "system": platform.platform(), "cpu": _cpu()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    torch = sys.modules.get("torch")  # a process that has not imported torch has used no GPU
    if torch is not None and torch.cuda.is_available():
        found["gpu"] = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return found


def provenance(
    *,
    source_url: str,
    source_sha256: str,
    output: Output,
    output_sha256: str,
    profile: str,
    method: str,
    method_digest: str,
    settings: Mapping[str, Any],
    weights: str | None = None,
    references: Sequence[Mapping[str, Any]],
    shots: Sequence[Span],
    guessed: Collection[int] = (),
    kinds: Mapping[int, str] = MappingProxyType({}),
    damaged: Sequence[int] = (),
    records: Sequence[SegmentRecord],
    started: datetime,
    ended: datetime,
) -> dict[str, Any]:
    """Everything needed to say, years later, what this file is. All values are JSON.

    Args:
        weights: sha256 (hex) of the networks' weights; None for a method without.
        settings: the configuration as the person gave it.
        references: one mapping a reference, e.g. ``{"shot": 3, "frame": 120, "file": "...", "sha256": "..."}``.
        guessed: numbers of the shots whose colours no person's picture vouches for.
        kinds: what shots are that are not plainly gray (``colour``: passed through, ``tinted``, ``blank``), by number.
        damaged: numbers of the source's frames that could not be decoded, rising: the output shows plain gray there.
        records: the segments the output was joined from, in film order; those reused from an earlier run name the machine of that run.
        started, ended: aware datetimes.
    """
    machines = {json.dumps(dict(record.made_by), sort_keys=True) for record in records}
    return {
        "format": FORMAT,
        "source": {"url": source_url, "sha256": source_sha256},
        "output": {"url": output.file_url, "sha256": output_sha256, "profile": profile},
        "method": {"name": method, "digest": method_digest, "weights": weights, "settings": dict(settings)},
        "references": [dict(reference) for reference in references],
        "shots": [
            {"number": number, "first": shot.first, "stop": shot.stop, "guessed": number in guessed, "kind": kinds.get(number),
             "references": [{"frame": r.get("frame"), "file": r["file"], "sha256": r["sha256"]} for r in references
                            if r.get("shot") == number],
             **_coloured(shot, records, (method, method_digest, weights))}
            for number, shot in enumerate(shots, 1)
        ],
        # With the identity, the key can be worked out again: nothing in it can be edited without a trace.
        "segments": [
            {"first": r.span.first, "stop": r.span.stop, "key": r.key, "sha256": r.sha256, "bytes": r.bytes, "created": r.created,
             "identity": r.identity.to_json()}
            for r in records
        ],
        "damaged": stretches(damaged),
        "machines": [json.loads(machine) for machine in sorted(machines)],
        "environment": environment(),
        "started": _utc(started),
        "ended": _utc(ended),
    }  # fmt: skip


def stretches(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Rising frame numbers as (first, last) of each unbroken stretch."""
    found: list[tuple[int, int]] = []
    for frame in frames:
        if found and found[-1][1] == frame - 1:
            found[-1] = (found[-1][0], frame)
        else:
            found.append((frame, frame))
    return found


def damaged_frames(told: Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers of the source's frames that a provenance says could not be decoded, rising; of an earlier dvcp there are none."""
    return tuple(frame for first, last in told.get("damaged", ()) for frame in range(first, last + 1))


def _coloured(shot: Span, records: Sequence[SegmentRecord], whole: tuple[str, str, str | None]) -> dict[str, Any]:
    """What the segments inside a shot were made by, and their mean confidence (0 to 1, weighted by frames; None where none tells).

    Args:
        whole: name, digest and weights of the film's method.
    """
    own = [r for r in records if r.span.first in shot]
    name, digest, weights = whole
    made = next((r.identity.method for r in own), digest)
    if made == AS_IT_IS:
        name, weights = AS_IT_IS, None
    elif made.endswith(BY_FIELDS):
        name += BY_FIELDS
    sure = [(r.frames, r.statistics["confidence_mean"]) for r in own if "confidence_mean" in r.statistics]
    frames = sum(count for count, _ in sure)
    return {
        "method": name,
        "method_digest": made,
        "weights": weights,
        "engine": ", ".join(sorted({r.identity.engine for r in own})),
        "confidence": round(sum(count * mean for count, mean in sure) / frames, 4) if frames else None,
    }


def write_provenance(output: Output, data: Mapping[str, Any]) -> str:
    """Store ``data`` without secrets as ``provenance.json`` beside the output. Returns its URL. Raises StoreError."""
    url = output.report_url("provenance.json")
    # Addresses, settings and warnings come from command lines, where people put signed URLs and keys.
    files.put_bytes(json.dumps(redacted(data), indent=1, ensure_ascii=False).encode(), url)
    return url


def write_pts(output: Output, table: FrameTable) -> str:
    """Store the exact clock of the film as ``pts.json`` beside the output (Matroska rounds PTS to 1 ms). Returns its URL."""
    url = output.report_url("pts.json")
    files.put_bytes(encode_pts(table), url)
    return url


def read_pts(output: Output) -> FrameTable | None:
    """The clock :func:`write_pts` stored, None when there is none. Raises StoreError when it is damaged."""
    url = output.report_url("pts.json")
    data = files.get_bytes(url)
    return None if data is None else decode_pts(data, url)


def encode_pts(table: FrameTable) -> bytes:
    """A clock as JSON. Steps between frames are run-length encoded: constant frame rate is one run, whatever the length of the film."""
    steps = np.diff(table.pts).tolist()
    data = {
        "timebase": f"{table.timebase.numerator}/{table.timebase.denominator}",
        "frames": len(table),
        "first": int(table.pts[0]),
        "steps": [[step, len(list(run))] for step, run in groupby(steps)],
        "last_duration": table.last_duration,
    }
    return json.dumps(data, separators=(",", ":")).encode()


def decode_pts(data: bytes, url: str) -> FrameTable:
    """Inverse of :func:`encode_pts`; ``url`` is for the message. Raises StoreError when it is damaged."""
    try:
        stored = json.loads(data)
        steps, counts = np.array(stored["steps"], dtype=np.int64).reshape(-1, 2).T
        pts = np.concatenate([[stored["first"]], np.repeat(steps, counts)]).cumsum(dtype=np.int64)
        table = FrameTable(Fraction(stored["timebase"]), pts, int(stored["last_duration"]))
        if len(table) != stored["frames"]:
            raise ValueError(f"{len(table)} frames where {stored['frames']} were written")
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise StoreError(f"damaged: {error}", file=url, hint="remove it and run again") from error
    return table


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
