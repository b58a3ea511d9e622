"""The four files a shot list is kept in, as bytes: JSON, CSV, EDL (CMX 3600) and OTIO.

They come back edited by people and programs: with a byte order mark, CRLF line ends, semicolons for commas, rows appended out of
order, one shot where there were two. A decoder reads what such a file plainly says and leaves the question whether the shots fit the
film to the shot list. EDL is written here and not by OpenTimelineIO's adapter, which refuses every rate that is not a broadcast rate
(a variable frame rate has an arbitrary mean) and files edited by hand.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from dvcp import timecode
from dvcp.errors import ConfigError, ShotListError
from dvcp.timecode import Timecode


@dataclass(frozen=True)
class Row:
    """One shot as a file says it: first and last frame number (inclusive) and the key frame's."""

    first: int
    last: int
    key: int | None = None


@dataclass(frozen=True)
class Film:
    """What a file says of the film beside its shots: URL, frames per second, number of frames, timecode of its first frame."""

    source: str
    rate: Fraction
    frames: int
    start: Timecode | None = None

    @property
    def clock(self) -> Timecode:
        """The start, or 00:00:00:00 where the film carries no timecode."""
        return self.start or Timecode(0, timecode.nominal(self.rate))


@dataclass(frozen=True)
class Format:
    """``decode`` takes the bytes, the URL (for messages) and the film they are read for. It raises ShotListError."""

    encode: Callable[[list[Row], Film], bytes]
    decode: Callable[[bytes, str, Film], list[Row]]


def of(url: str) -> Format:
    """The format the extension of ``url`` asks for. Raises ShotListError for any other."""
    extension = url.rpartition(".")[2].lower()
    if extension not in _FORMATS:
        raise ShotListError("not a shot list file", file=url, hint=f"use one of {', '.join('.' + name for name in _FORMATS)}")
    return _FORMATS[extension]


def _text(data: bytes) -> str:
    # Excel's "Unicode text" is UTF-16; clip names in old EDLs are anything, and only digits matter.
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")


def _integer(value: object, what: str, url: str, line: int) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"\d+", value.strip()):
        return int(value)
    raise ShotListError(f"row {line}: {what} is {value!r}", file=url, hint="a frame number counted from 0")


def _optional(value: object, what: str, url: str, line: int) -> int | None:
    return None if value is None or value == "" else _integer(value, what, url, line)


# CSV


def _encode_csv(rows: list[Row], film: Film) -> bytes:
    out = io.StringIO()
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow(["shot", "first", "last", "key"])
    for number, row in enumerate(rows, 1):
        sheet.writerow([number, row.first, row.last, "" if row.key is None else row.key])
    return out.getvalue().encode()


def _decode_csv(data: bytes, url: str, film: Film) -> list[Row]:
    return [
        Row(
            _integer(cells["first"], "first", url, line),
            _integer(cells["last"], "last", url, line),
            _optional(cells.get("key"), "key", url, line),
        )
        for line, cells in read_table(data, url, ("first", "last"))
    ]


def read_table(data: bytes, url: str, required: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """(line number, column -> trimmed cell) of every row of a CSV that is not empty; columns in any order, case and separator.

    Raises ShotListError when a required column is missing.
    """
    text = _text(data)
    head = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=head.count)
    sheet = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    table = [(sheet.line_num, [cell.strip() for cell in cells]) for cells in sheet if any(cell.strip() for cell in cells)]
    columns = [name.lower() for name in table[0][1]] if table else []
    for name in required:
        if name not in columns:
            raise ShotListError(f"no column {name!r}", file=url, hint=f"the first line names the columns: {','.join(required)}")
    # Cells missing at the end of a short row count as empty.
    return [(line, dict(zip(columns, cells + [""] * len(columns), strict=False))) for line, cells in table[1:]]


# JSON


def _encode_json(rows: list[Row], film: Film) -> bytes:
    shots = [{"shot": number, "first": row.first, "last": row.last, "key": row.key} for number, row in enumerate(rows, 1)]
    head = {"source": film.source, "rate": str(film.rate), "frames": film.frames}
    lines = ",\n".join("    " + json.dumps(shot) for shot in shots)
    return (json.dumps(head, indent=2, ensure_ascii=False)[:-2] + f',\n  "shots": [\n{lines}\n  ]\n}}\n').encode()


def _decode_json(data: bytes, url: str, film: Film) -> list[Row]:
    content = read_json(data, url)
    shots = content.get("shots") if isinstance(content, dict) else None
    if not isinstance(shots, list) or not all(isinstance(shot, dict) for shot in shots):
        raise ShotListError('no list of "shots"', file=url, hint='{"shots": [{"first": 0, "last": 99}, ...]}')
    return [
        Row(
            _integer(shot.get("first"), "first", url, number),
            _integer(shot.get("last"), "last", url, number),
            _optional(shot.get("key"), "key", url, number),
        )
        for number, shot in enumerate(shots, 1)
    ]


def read_json(data: bytes, url: str) -> Any:
    """Parsed JSON. Raises ShotListError with line and column."""
    try:
        return json.loads(_text(data))
    except json.JSONDecodeError as error:
        raise ShotListError(f"line {error.lineno}, column {error.colno}: {error.msg}", file=url, hint="not valid JSON") from None


# EDL

_TIMECODE = r"(\d+):(\d\d):(\d\d)([:;.])(\d+)"
_EVENT = re.compile(rf"\s*\d+\s+\S+\s+(\S+)\s+\S.*?\s{_TIMECODE}\s+{_TIMECODE}\s+{_TIMECODE}\s+{_TIMECODE}\s*$")
_KEY = re.compile(r"\*\s*KEY FRAME:\s*(\d+)\s*$", re.IGNORECASE)


def _encode_edl(rows: list[Row], film: Film) -> bytes:
    name, clock = film.source.rpartition("/")[2], film.clock
    # Only a film that ends within a day of labels can wrap at midnight and still be read back.
    wraps = film.start is not None and film.frames < timecode.day(clock.base, clock.drop) // 2

    def label(frame: int) -> str:
        at = clock.plus(frame)
        return str(at.within_a_day() if wraps else at)

    lines = [f"TITLE: {name}", f"FCM: {'DROP FRAME' if clock.drop else 'NON-DROP FRAME'}", ""]
    for number, row in enumerate(rows, 1):
        times = f"{label(row.first)} {label(row.last + 1)}"
        lines += [f"{number:03d}  AX       V     C        {times} {times}", f"* FROM CLIP NAME:  {name}"]
        lines += [f"* KEY FRAME: {row.key}"] if row.key is not None else []
    return ("\n".join(lines) + "\n").encode()


def _decode_edl(data: bytes, url: str, film: Film) -> list[Row]:
    base = timecode.nominal(film.rate)
    drop = False
    events: list[tuple[int, int, int]] = []
    keys: dict[int, int] = {}
    for number, line in enumerate(_text(data).splitlines(), 1):
        if line.strip().upper().startswith("FCM:"):
            drop = "NON" not in line.upper()
        elif (found := _KEY.match(line.strip())) and events:
            keys[len(events) - 1] = int(found[1])
        elif found := _EVENT.match(line):
            fields = found.groups()
            times = [_frame(fields[k : k + 5], base, drop, url, number) for k in (1, 6, 11, 16)]
            source_in, _, first, stop = _past_midnight(times, events[0] if events else None, base, drop)
            # A dissolve is written as two events, the first of no length; sound has events of its own.
            if stop != first and ("V" in fields[0].upper() or fields[0].upper() == "B"):
                events.append((source_in, first, stop))
        elif re.match(r"\s*\d+\s", line):
            raise ShotListError(f"line {number} is no event", file=url, hint="number, reel, V, C and four timecodes")
    if not events:
        raise ShotListError("no picture event", file=url, hint="each shot is a line: number, reel, V, C and four timecodes")
    _in_film_order([(source, first) for source, first, _ in events], url)
    start = events[0][1]
    return [Row(first - start, stop - start - 1, keys.get(k)) for k, (_, first, stop) in enumerate(events)]


def _frame(fields: tuple[str, ...], base: int, drop: bool, url: str, line: int) -> int:
    """Frames a timecode counts to: hours, minutes, seconds, separator, frames."""
    hours, minutes, seconds, frames = (int(fields[k]) for k in (0, 1, 2, 4))
    try:
        return timecode.count(hours, minutes, seconds, frames, base, (drop or fields[3] == ";") and base % 30 == 0)
    except ValueError as error:
        raise ShotListError(f"line {line}: {error}", file=url, hint="is this list of another film?") from None


def _past_midnight(times: list[int], begin: tuple[int, int, int] | None, base: int, drop: bool) -> list[int]:
    """Source in and out, record in and out, counted on where the clock went from 24 to 0 hours since the first event ``begin``."""
    length = timecode.day(base, drop and base % 30 == 0)
    after = begin or (times[0], times[2], 0)
    starts = (after[0], after[0], after[1], after[1])
    return [time + length if first - time > length // 2 else time for time, first in zip(times, starts, strict=True)]


def _in_film_order(starts: list[tuple[int, int]], url: str) -> None:
    """Refuse a list whose shots play other frames of the film than their place says: one was moved, or taken out and the gap closed."""
    for number, (source, place) in enumerate(starts, 1):
        if source - place != starts[0][0] - starts[0][1]:
            message = "shows other frames of the film than its place in the list"
            raise ShotListError(message, file=url, shot=number, hint="keep the shots in film order, none left out")


# OTIO


def _opentimelineio() -> Any:
    try:
        return importlib.import_module("opentimelineio")
    except ImportError:
        hint = "pip install 'dvcp[archive]', or keep it as .edl, .csv or .json"
        raise ConfigError("an .otio shot list needs OpenTimelineIO", hint=hint) from None


def _encode_otio(rows: list[Row], film: Film) -> bytes:
    otio = _opentimelineio()
    rate, start = float(film.rate), film.clock.frame

    def span(first: int, length: int) -> Any:
        return otio.opentime.TimeRange(otio.opentime.RationalTime(start + first, rate), otio.opentime.RationalTime(length, rate))

    known = {"rate": str(film.rate)} | ({"timecode": str(film.start)} if film.start else {})
    timeline = otio.schema.Timeline(film.source.rpartition("/")[2], metadata={"dvcp": known})
    if film.start:
        timeline.global_start_time = otio.opentime.RationalTime(start, rate)
    track = otio.schema.Track("V1", kind=otio.schema.TrackKind.Video)
    timeline.tracks.append(track)
    for number, row in enumerate(rows, 1):
        media = otio.schema.ExternalReference(film.source, span(0, film.frames))
        clip = otio.schema.Clip(f"shot {number:04d}", media, span(row.first, row.last - row.first + 1))
        if row.key is not None:
            clip.metadata["dvcp"] = {"key": row.key}
        track.append(clip)
    return f"{timeline.to_json_string()}\n".encode()


def _decode_otio(data: bytes, url: str, film: Film) -> list[Row]:
    otio = _opentimelineio()
    # OpenTimelineIO ends the process on "{]" and other JSON that is none, and on a timeline whose tracks are null
    content = read_json(data, url)
    if isinstance(content, dict) and "tracks" in content and not isinstance(content["tracks"], dict):
        raise ShotListError("no video track", file=url, hint="the shots are the clips of the first video track")
    try:
        return _otio_rows(otio, json.dumps(content), url, film)
    except ShotListError:
        raise
    except Exception as error:  # its reader raises whatever a damaged list makes it stumble over: KeyError, TypeError, its own
        raise ShotListError(" ".join(str(error).split()) or type(error).__name__, file=url, hint="not valid OTIO") from None


def _otio_rows(otio: Any, text: str, url: str, film: Film) -> list[Row]:
    timeline = otio.adapters.read_from_string(text, "otio_json")
    tracks = timeline.video_tracks() if isinstance(timeline, otio.schema.Timeline) else []
    if not tracks:
        raise ShotListError("no video track", file=url, hint="the shots are the clips of the first video track")

    def frames(time: Any, shot: int) -> int:
        # The rate is only a label of the same frames; a really different one means the list was made for another film.
        if not abs(time.rate / float(film.rate) - 1) <= 0.005:
            message = f"counts {time.rate:g} frames a second, the film has {float(film.rate):g}"
            raise ShotListError(message, file=url, shot=shot, hint="export the list at the film's rate")
        value = float(time.value)
        if not math.isfinite(value) or abs(value - round(value)) > 0.01:
            raise ShotListError(f"cuts at frame {value:g}", file=url, shot=shot, hint="cut between frames")
        return round(value)

    rows, starts = [], []
    items = [item for item in tracks[0] if isinstance(item, otio.core.Item) and not isinstance(item, otio.schema.Gap)]
    for number, item in enumerate(items, 1):
        place = item.range_in_parent()
        first = frames(place.start_time, number)
        starts.append((frames(item.trimmed_range().start_time, number), first))
        key = item.metadata.get("dvcp", {}).get("key")
        rows.append(Row(first, first + frames(place.duration, number) - 1, _optional(key, "key", url, number)))
    _in_film_order(starts, url)
    return rows


_FORMATS = {
    "otio": Format(_encode_otio, _decode_otio),
    "edl": Format(_encode_edl, _decode_edl),
    "csv": Format(_encode_csv, _decode_csv),
    "json": Format(_encode_json, _decode_json),
}
