"""Track properties that FFmpeg's Matroska muxer drops when PyAV remuxes: sample aspect and default frame duration.

The muxer writes them from fields of AVStream that PyAV cannot set (FFV1 read back lost its aspect; 29.97 fps read back as 359/12), so
the track header is completed in place after writing. The muxer leaves a Void element of 93 bytes behind the SeekHead; the elements
between it and the end of Tracks move into it, so nothing behind Tracks moves and no cluster is copied.
Element ids: RFC 9559; element coding and CRC-32: RFC 8794.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from dvcp.errors import MediaError

HEAD_BYTES = 1 << 20
SEGMENT, SEEK_HEAD, INFO, TRACKS, CLUSTER = 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675
SEEK, SEEK_ID, SEEK_POSITION = 0x4DBB, 0x53AB, 0x53AC
TRACK_ENTRY, VIDEO, DEFAULT_DURATION = 0xAE, 0xE0, 0x23E383
PIXEL_WIDTH, PIXEL_HEIGHT, DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0xB0, 0xBA, 0x54B0, 0x54BA, 0x54B2
CRC32, VOID = 0xBF, 0xEC


@dataclass(frozen=True)
class _Element:
    id: int
    start: int
    body: int
    stop: int


def complete_video_track(path: str, sample_aspect: Fraction, rate: Fraction | None) -> None:
    """Write sample aspect and default duration into the first video track of a Matroska file made by FFmpeg, in place.

    Args:
        path: a local file.
        sample_aspect: width of a sample over its height.
        rate: frames per second of a constant-rate film, None for VFR (Matroska then has no default duration).

    Raises:
        MediaError: the file's head is not laid out as FFmpeg lays it out.
    """
    with open(path, "r+b") as file:
        head = file.read(HEAD_BYTES)
        try:
            segment = next(e for e in _elements(head, 0, len(head)) if e.id == SEGMENT)
            parts = []
            for element in _elements(head, segment.body, len(head)):
                parts.append(element)
                if element.id == TRACKS:
                    break
            seek_head, void, *middle, tracks = parts
            if (seek_head.id, void.id, tracks.id) != (SEEK_HEAD, VOID, TRACKS):
                raise ValueError("unexpected order of elements")
            new_tracks = _tracks(head[tracks.body : tracks.stop], sample_aspect, rate)
            grown = len(new_tracks) - (tracks.stop - tracks.start)
            room = void.stop - void.start - grown
            moved = {e.id: e.start - segment.body - grown for e in (*middle, tracks)}
            rewritten = (
                _element(SEEK_HEAD, _seek_head(head[seek_head.body : seek_head.stop], moved), seek_head.body - seek_head.start - 4)
                + _element(VOID, bytes(room - 9), 8)
                + b"".join(head[e.start : e.stop] for e in middle)
                + new_tracks
            )
            if len(rewritten) != tracks.stop - seek_head.start:
                raise ValueError("sizes do not add up")
        except (StopIteration, IndexError, ValueError) as error:
            raise MediaError(f"unexpected Matroska layout: {error}", file=path, hint="report it with the PyAV version") from error
        file.seek(seek_head.start)
        file.write(rewritten)


def _tracks(body: bytes, aspect: Fraction, rate: Fraction | None) -> bytes:
    children, done = [], False
    for element in _elements(body, 0, len(body)):
        raw = body[element.start : element.stop]
        if element.id == TRACK_ENTRY and not done:
            entry = list(_elements(body, element.body, element.stop))
            if any(e.id == VIDEO for e in entry):
                raw, done = _video_entry(body, entry, aspect, rate), True
        if element.id != CRC32:
            children.append(raw)
    content = b"".join(children)
    return _element(TRACKS, _element(CRC32, zlib.crc32(content).to_bytes(4, "little")) + content, 8)


def _video_entry(body: bytes, entry: list[_Element], aspect: Fraction, rate: Fraction | None) -> bytes:
    parts = []
    for element in entry:
        raw = body[element.start : element.stop]
        if element.id == VIDEO:
            fields = {e.id: body[e.body : e.stop] for e in _elements(body, element.body, element.stop)}
            kept = [(key, value) for key, value in fields.items() if key not in (DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT)]
            width, height = (int.from_bytes(fields[key], "big") for key in (PIXEL_WIDTH, PIXEL_HEIGHT))
            raw = _element(VIDEO, b"".join(_element(key, value) for key, value in [*kept, *_display(width, height, aspect)]))
        if element.id not in (VOID, DEFAULT_DURATION):
            parts.append(raw)
    if rate is not None:
        parts.append(_element(DEFAULT_DURATION, _uint(round(1_000_000_000 / rate))))
    return _element(TRACK_ENTRY, b"".join(parts), 8)


def _display(width: int, height: int, aspect: Fraction) -> list[tuple[int, bytes]]:
    shown = width * aspect
    if shown.denominator == 1:
        return [(DISPLAY_WIDTH, _uint(shown.numerator)), (DISPLAY_HEIGHT, _uint(height))]
    # not a whole number of pixels: as a ratio (unit 3), which is exact
    ratio = shown / height
    return [(DISPLAY_WIDTH, _uint(ratio.numerator)), (DISPLAY_HEIGHT, _uint(ratio.denominator)), (DISPLAY_UNIT, b"\x03")]


def _seek_head(body: bytes, moved: dict[int, int]) -> bytes:
    content = b""
    for seek in _elements(body, 0, len(body)):
        if seek.id != SEEK:
            continue
        fields = {e.id: body[e.body : e.stop] for e in _elements(body, seek.body, seek.stop)}
        target, old = int.from_bytes(fields[SEEK_ID], "big"), fields[SEEK_POSITION]
        position = moved.get(target, int.from_bytes(old, "big"))
        content += _element(SEEK, _element(SEEK_ID, fields[SEEK_ID]) + _element(SEEK_POSITION, position.to_bytes(len(old), "big")))
    return _element(CRC32, zlib.crc32(content).to_bytes(4, "little")) + content


def _elements(data: bytes, start: int, stop: int) -> Iterator[_Element]:
    """The elements in ``data[start:stop]``; the last may reach beyond the end (a Segment does)."""
    while start < stop:
        width = 9 - data[start].bit_length()
        key = int.from_bytes(data[start : start + width], "big")
        at = start + width
        width = 9 - data[at].bit_length()
        body = at + width
        size = int.from_bytes(data[at:body], "big") & ((1 << (7 * width)) - 1)
        yield _Element(key, start, body, body + size)
        start = body + size


def _element(key: int, content: bytes, width: int = 1) -> bytes:
    """One element, its size written in ``width`` bytes or as many as it needs."""
    while len(content) >= (1 << (7 * width)) - 1:
        width += 1
    size = (len(content) | (1 << (7 * width))).to_bytes(width, "big")
    return key.to_bytes((key.bit_length() + 7) // 8, "big") + size + content


def _uint(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
