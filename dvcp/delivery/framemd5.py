"""framemd5, FFmpeg's own text of checksums: a line for every frame of the picture and every packet of the sound.

FFmpeg writes the same lines with

* luma: ``ffmpeg -copyts -i FILE -map 0:v:0 -vf extractplanes=y -fps_mode passthrough -enc_time_base demux -f framemd5 -``
* everything: ``ffmpeg -copyts -i FILE -map 0:v:0 -map 0:a? -c:a copy -fps_mode passthrough -enc_time_base demux -f framemd5 -``

(``-enc_time_base -1`` before FFmpeg 6.1), but for ``#software`` and durations: the column after PTS is here what the packet says (0 where
it says nothing), and there, by version, what FFmpeg works out.

Samples above 8 bits are hashed little endian, whatever the file's order (FFmpeg: add ``-pix_fmt`` of the ``le`` format). Where a packet
carries side data FFmpeg adds it behind the hash; here it is left out.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from dvcp.media.probe import VideoInfo, video_stream
from dvcp.media.reader import FrameReader
from dvcp.media.source import open_input
from dvcp.media.tracks import LAYOUTS
from dvcp.timing import Span

#: frames held at a time
BATCH = 8
NO_PTS = -(1 << 63)


def write_framemd5(info: VideoInfo, luma: Path, everything: Path) -> None:
    """Decode a film once and write both lists as local text files. Memory does not grow with the film.

    Args:
        info: the film.
        luma: gets the picture's Y plane alone.
        everything: gets all planes and the packets of every sound track, in order of time.

    Raises:
        MediaError: a frame cannot be decoded.
    """
    sounds = _sounds(info)
    with luma.open("w", encoding="ascii", newline="\n") as gray, everything.open("w", encoding="ascii", newline="\n") as full:
        _head(gray, info, ())
        _head(full, info, sounds)
        for _, luma_line, line in heapq.merge(_pictures(info), _packets(info), key=lambda item: item[0]):
            full.write(line)
            gray.write(luma_line)


def hashes(text: str, stream: int = 0) -> list[str]:
    """The hashes of one stream of a framemd5 list, in order."""
    rows = (line.split(",") for line in text.splitlines() if line and not line.startswith("#"))
    return [row[5].strip() for row in rows if int(row[0]) == stream]


def first_difference(found: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first line that differs between two lists, in words; None where they are equal. Lines that name software are not compared."""
    ours, theirs = (iter(line.rstrip("\r\n") for line in lines if not line.startswith("#software")) for lines in (found, wanted))
    while True:
        a, b = next(ours, None), next(theirs, None)
        if a is None and b is None:
            return None
        if a != b:
            return f"{'nothing' if a is None else repr(a)} where {'nothing' if b is None else repr(b)} was written"


def _pictures(info: VideoInfo) -> Iterator[tuple[tuple[Fraction, int], str, str]]:
    """((time, stream), line of luma, line of all planes) of every frame."""
    durations, table = _durations(info), info.frames
    with FrameReader(info) as reader:
        for first in range(0, len(table), BATCH):
            span = Span(first, min(first + BATCH, len(table)))
            if info.gray:
                planes: tuple[NDArray[Any], ...] = (reader.luma(span),)
            else:
                luma, chroma = reader.planes(span)
                planes = (luma, chroma[:, 0], chroma[:, 1])
            for k, number in enumerate(span):
                pts = int(table.pts[number])
                rows = [_raw(plane[k]) for plane in planes]
                stamp = f"0, {pts:10d}, {pts:10d}, {durations[number]:8d}, "
                yield (pts * table.timebase, 0), stamp + _hash(rows[:1]), stamp + _hash(rows)


def _packets(info: VideoInfo) -> Iterator[tuple[tuple[Fraction, int], str, str]]:
    """((time, stream), nothing, line) of every packet of sound."""
    if not info.audio:
        return
    with open_input(info.url) as container:
        tracks = [s for s in container.streams.audio if s.codec_context is not None]
        numbers = {track.index: k for k, track in enumerate(tracks, 1)}
        at = Fraction(0)
        for packet in container.demux(tracks):
            if not packet.size:
                continue
            pts, dts = packet.pts, packet.dts if packet.dts is not None else packet.pts
            if dts is not None:
                at = dts * packet.time_base
            number = numbers[packet.stream_index]
            stamp = [NO_PTS if value is None else value for value in (dts, pts)]
            yield (at, number), "", f"{number}, {stamp[0]:10d}, {stamp[1]:10d}, {packet.duration or 0:8d}, " + _hash([bytes(packet)])


def _durations(info: VideoInfo) -> array[int]:
    """Ticks every frame is shown for as its packet says it, which is not always the way to the next frame."""
    table, found = info.frames, array("q", [0]) * len(info.frames)
    if info.counted:
        return array("q", [1]) * len(table)
    with open_input(info.url) as container:
        for packet in container.demux(video_stream(container, info.url)):
            if packet.size and packet.pts is not None and not packet.is_discard:
                found[table.frame_at(packet.pts)] = packet.duration or 0
    return found


def _sounds(info: VideoInfo) -> list[tuple[str, str, int, str, bytes]]:
    """Timebase, codec, rate, layout and extra data of every sound track."""
    if not info.audio:
        return []
    with open_input(info.url) as container:
        return [
            (f"{s.time_base}", c.codec.canonical_name, c.sample_rate or 0, _layout(c.layout.name, c.channels), c.extradata or b"")
            for s in container.streams.audio
            if (c := s.codec_context) is not None
        ]


def _layout(name: str, channels: int) -> str:
    # Matroska says how many channels PCM has, not which; ffmpeg then takes the usual layout
    return LAYOUTS.get(channels, name) if name == f"{channels} channels" else name


def _head(out: TextIO, info: VideoInfo, sounds: Iterable[tuple[str, str, int, str, bytes]]) -> None:
    lines = ["#format: frame checksums", "#version: 2", "#hash: MD5"]
    for k, (*_, extra) in enumerate(sounds, 1):
        lines += [f"#extradata {k}, {len(extra):31d}, {hashlib.md5(extra).hexdigest()}"] if extra else []
    aspect, base = info.sample_aspect, info.frames.timebase
    lines += [f"#tb 0: {base.numerator}/{base.denominator}", "#media_type 0: video", "#codec_id 0: rawvideo"]
    lines += [f"#dimensions 0: {info.width}x{info.height}", f"#sar 0: {aspect.numerator}/{aspect.denominator}"]
    for k, (timebase, codec, rate, layout, _) in enumerate(sounds, 1):
        lines += [f"#tb {k}: {timebase}", f"#media_type {k}: audio", f"#codec_id {k}: {codec}"]
        lines += [f"#sample_rate {k}: {rate}", f"#channel_layout_name {k}: {layout}"]
    out.write("\n".join([*lines, "#stream#, dts,        pts, duration,     size, hash"]) + "\n")


def _raw(plane: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(plane, "<u2" if plane.itemsize == 2 else np.uint8).tobytes()


def _hash(parts: list[bytes]) -> str:
    digest = hashlib.md5()
    for part in parts:
        digest.update(part)
    return f"{sum(map(len, parts)):8d}, {digest.hexdigest()}\n"
