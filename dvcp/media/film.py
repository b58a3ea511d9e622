"""A gray film written frame by frame at exact times: FFV1 in Matroska, with sound copied beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from types import TracebackType
from typing import Any, Self, cast

import av
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dvcp.errors import MediaError
from dvcp.media.matroska import complete_video_track
from dvcp.media.pixels import plane_view
from dvcp.media.probe import FIELD_ORDERS, FULL_RANGE, LIMITED_RANGE
from dvcp.media.profiles import MASTER
from dvcp.media.source import av_path, open_input
from dvcp.media.writer import abandon, writing
from dvcp.methods.base import Samples

#: FFmpeg's usual channel layouts, for PCM whose file says how many channels but not which
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


@dataclass(frozen=True)
class GrayFilm:
    """What a gray film is.

    Attributes:
        width, height: in samples.
        depth: 8, 10, 12 or 16.
        rate: frames per second; a frame at tick k is shown at k / rate.
        frames: how many will be written.
        constant: every tick has a frame.
        limited: black and white are those of video.
        primaries, transfer, matrix: CICP codes, 2 = unspecified.
        sample_aspect: width of a sample over its height.
        timecode: of tick 0, or None.
        tags: of the container.
    """

    width: int
    height: int
    depth: int
    rate: Fraction
    frames: int
    constant: bool
    limited: bool = False
    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    sample_aspect: Fraction = Fraction(1)
    timecode: str | None = None
    tags: dict[str, str] = field(default_factory=dict)


class GrayFilmWriter:
    """Writes a local Matroska file. The same input gives the same bytes. Use as a context manager; the file is whole after the block.

    Args:
        path: local.
        film: what it is.
        audio: path or URL whose audio tracks are copied packet by packet, or None.
    """

    def __init__(self, path: str, film: GrayFilm, audio: str | None = None) -> None:
        self._path, self._film, self._audio = path, film, audio
        self._stack = ExitStack()
        self._container: OutputContainer
        self._stream: VideoStream
        self._sound: Iterator[tuple[Fraction, Packet[Any]]] = iter(())
        self._next: tuple[Fraction, Packet[Any]] | None = None
        self.sound_end = Fraction(0)  # seconds at which the sound copied so far ends; 0 without any

    def __enter__(self) -> Self:
        with writing(self._path):
            options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
            opened = av.open(av_path(self._path), "w", format=MASTER.container, container_options=options)
            self._container = self._stack.enter_context(opened)
            self._stream = self._add_stream()
            self._container.metadata.update(self._film.tags)
        if self._audio:
            self._sound = self._copies(self._audio)
            self._next = next(self._sound, None)
        with writing(self._path):
            self._container.start_encoding()
        return self

    def write(self, tick: int, luma: Samples) -> None:
        """Append the frame shown from ``tick`` on: native samples ``[H, W]``. Ticks increase.

        Raises:
            StoreError: no space. MediaError: the encoder refused.
        """
        with writing(self._path):
            self._mux_sound(tick / self._film.rate)
            frame = VideoFrame(self._film.width, self._film.height, self._stream.pix_fmt or "")
            plane_view(frame, 0, self._film.depth)[:] = luma
            frame.pts, frame.time_base = tick, 1 / self._film.rate
            self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            abandon(self._stack)
            return
        with writing(self._path), self._stack:
            self._container.mux(self._stream.encode(None))
            self._mux_sound(None)
        # with a default duration Matroska would announce frames in the gaps
        complete_video_track(self._path, self._film.sample_aspect, self._film.rate if self._film.constant else None)

    def _add_stream(self) -> VideoStream:
        film = self._film
        stream = cast(VideoStream, self._container.add_stream(MASTER.codec, rate=film.rate, options=dict(MASTER.options)))
        context = stream.codec_context
        stream.width, stream.height = film.width, film.height
        stream.pix_fmt = "gray" if film.depth == 8 else f"gray{film.depth}le"
        context.time_base = 1 / film.rate
        context.sample_aspect_ratio = film.sample_aspect
        context.color_range = LIMITED_RANGE if film.limited else FULL_RANGE
        context.color_primaries, context.color_trc, context.colorspace = film.primaries, film.transfer, film.matrix
        context.flags |= int(Flags.bitexact)
        context.field_order = FIELD_ORDERS.index("progressive")
        context.thread_count = 2
        # otherwise what the file announces is reckoned from its duration, and gaps look like frames cut off
        stream.metadata["NUMBER_OF_FRAMES"] = str(film.frames)
        if film.timecode:
            stream.metadata["timecode"] = film.timecode
        return stream

    def _copies(self, url: str) -> Iterator[tuple[Fraction, Packet[Any]]]:
        source = self._stack.enter_context(open_input(url))
        tracks: dict[int, Stream] = {}
        for stream in source.streams.audio:
            if stream.codec_context is None:
                continue
            twin = self._container.add_stream_from_template(stream, opaque=True)
            if isinstance(twin, AudioStream) and twin.codec_context.layout.name == f"{twin.codec_context.channels} channels":
                twin.codec_context.layout = _LAYOUTS.get(twin.codec_context.channels, "stereo")
            twin.metadata.update({key: value for key, value in stream.metadata.items() if key in ("language", "title")})
            tracks[stream.index] = twin
        if not tracks:
            raise MediaError("holds no sound", file=url, hint="give --audio a file with an audio track")
        return self._packets(source.demux([s for s in source.streams if s.index in tracks]), tracks)

    def _packets(self, packets: Iterator[Packet[Any]], tracks: dict[int, Stream]) -> Iterator[tuple[Fraction, Packet[Any]]]:
        at = Fraction(0)
        for packet in packets:
            if packet.size:
                if packet.pts is not None:
                    at = packet.pts * packet.time_base
                self.sound_end = max(self.sound_end, at + (packet.duration or 0) * packet.time_base)
                packet.stream = tracks[packet.stream_index]
                yield at, packet

    def _mux_sound(self, until: Fraction | None) -> None:
        while self._next is not None and (until is None or self._next[0] <= until):
            self._container.mux(self._next[1])
            self._next = next(self._sound, None)


def sound_digests(url: str) -> tuple[str, ...]:
    """sha256 (hex) of the packets of each audio track."""
    with open_input(url) as container:
        digests = {stream.index: hashlib.sha256() for stream in container.streams.audio if stream.codec_context is not None}
        for packet in container.demux([s for s in container.streams.audio if s.index in digests]):
            if packet.size:
                digests[packet.stream_index].update(bytes(packet))
        return tuple(digest.hexdigest() for digest in digests.values())
