"""Native samples of any span of a film: sequential reading without a seek, random reading exact by PTS."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.errors import MediaError, PictureChange, ReadFailed
from dvcp.media.ffv1 import has_checksums, slices_sound
from dvcp.media.pixels import plane_view
from dvcp.media.probe import VideoInfo, video_stream
from dvcp.media.source import decode_threads, open_input, reading_failed
from dvcp.methods.base import Samples
from dvcp.pulse import pulse
from dvcp.timing import Span

#: decoding this many frames on costs less than a seek, and gives the same samples
NEAR = 32
#: memory that backward reading may hold, so that a group of pictures is not decoded again for each window
BACKWARD_BYTES = 128 << 20


class FrameReader:
    """Reads spans of one film. Memory is that of one span and the decoder, whatever the film's length.

    Use as a context manager. After a MediaError the reader still serves other spans.
    """

    def __init__(self, info: VideoInfo) -> None:
        self._info = info
        self._damaged = frozenset(info.damaged)
        self._stack = ExitStack()
        self._container: InputContainer | None = None
        self._frames: Iterator[tuple[int, VideoFrame]] = iter(())
        self._position = -1  # the frame that decoding delivers next; -1 when unknown
        self._held: tuple[int, VideoFrame] | None = None
        self._trouble = ""

    def __enter__(self) -> Self:
        self._rewind()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # frames and generators hold memory of the container: drop them first
        self._frames, self._held = iter(()), None
        self._stack.close()

    def luma(self, span: Span) -> Samples:
        """Luma of a span: native samples ``[T, H, W]``, uint8 or uint16, contiguous, a copy.

        Raises:
            MediaError: a frame cannot be decoded and is not known to be damaged, or its size or pixel format differs from the film's.
            ValueError: the span reaches beyond the film.
        """
        info = self._info
        luma: NDArray[Any] = np.full((len(span), info.height, info.width), damaged_luma(info.colour), info.colour.dtype)
        for out, frame in zip(luma, self._span(span), strict=True):
            if frame is not None:
                out[:] = plane_view(frame, 0, info.colour.depth)
        return luma

    def bridged(self, span: Span, shot: Span) -> Samples:
        """As :meth:`luma`, but every frame known to be damaged is the nearest sound one of its shot before it (or behind it, where none is
        before): what motion is carried across.
        """
        luma: NDArray[Any] = self.luma(span)
        for frame in self._damaged.intersection(span):
            near = self._sound_near(frame, shot)
            luma[frame - span.first] = luma[near - span.first] if near in span else self.luma(Span(near, near + 1))[0]
        return luma

    def _sound_near(self, frame: int, shot: Span) -> int:
        before = next((k for k in range(frame - 1, shot.first - 1, -1) if k not in self._damaged), None)
        behind = (k for k in range(frame + 1, shot.stop) if k not in self._damaged)
        return next(behind, frame) if before is None else before

    def planes(self, span: Span) -> tuple[Samples, Samples]:
        """Luma ``[T, H, W]`` and chroma ``[T, 2, Hc, Wc]`` (Cb, Cr), native samples; neutral chroma for a gray source.

        Raises: as :meth:`luma`.
        """
        info = self._info
        depth, grid = info.colour.depth, info.colour.chroma_shape(info.height, info.width)
        luma: NDArray[Any] = np.full((len(span), info.height, info.width), damaged_luma(info.colour), info.colour.dtype)
        chroma: NDArray[Any] = np.full((len(span), 2, *grid), 1 << (depth - 1), info.colour.dtype)
        for k, frame in enumerate(self._span(span)):
            if frame is None:
                continue
            luma[k] = plane_view(frame, 0, depth)
            if not info.gray:
                chroma[k, 0], chroma[k, 1] = plane_view(frame, 1, depth), plane_view(frame, 2, depth)
        return luma, chroma

    def _span(self, span: Span) -> Iterator[VideoFrame | None]:
        """The frames of a span; None for one known to be damaged."""
        if span.stop > len(self._info.frames):
            raise ValueError(f"span [{span.first}, {span.stop}) reaches beyond the film's {len(self._info.frames)} frames")
        if not self._position <= span.first <= self._position + NEAR or self._position < 0:
            self._seek(span.first)
        for number in span:
            if number in self._damaged:
                yield None
                continue
            frame = self._advance(number)
            if frame is None and not self._info.counted:
                # A seek may have landed where the decoder lacks what it needs (intra refresh, open GOP): once more, from further back.
                self._seek(number, back=Fraction(10))
                frame = self._advance(number)
            if frame is None:
                why = f"cannot be decoded{self._trouble and f' ({self._trouble})'}"
                hint = "the source is damaged here; restore it or leave the shot gray"
                raise MediaError(why, file=self._info.url, frame=number, hint=hint)
            self._check(frame, number)
            yield frame

    def _advance(self, number: int) -> VideoFrame | None:
        """Decode up to frame ``number``; None when it does not come or comes damaged."""
        while True:
            try:
                found, self._held = self._held or next(self._frames, None), None
            except (av.error.FFmpegError, OSError) as error:
                self._position = -1
                raise reading_failed(self._info.url, error, number) from error
            if found is None:
                # Where a seek is a new start, one for each of a thousand lost frames would take for ever, and find no more.
                self._position = number + 1 if self._info.counted else -1
                return None
            if found[0] > number:
                self._held, self._position = found, found[0]
                return None
            if found[0] == number:
                self._position = number + 1
                return None if found[1].is_corrupt else found[1]

    def _check(self, frame: VideoFrame, number: int) -> None:
        info = self._info
        if (frame.width, frame.height, frame.format.name) != (info.width, info.height, info.pix_fmt):
            found = f"{frame.width}x{frame.height} {frame.format.name}"
            message = f"the picture changes from {info.width}x{info.height} {info.pix_fmt} to {found}"
            raise PictureChange(message, file=info.url, frame=number, hint="split the file there, or scale it to one size with ffmpeg")

    def _rewind(self) -> None:
        """Start again at the first packet, by opening the file again: not every container can seek."""
        self._frames, self._held = iter(()), None
        self._stack.close()
        self._container = self._stack.enter_context(open_input(self._info.url))
        stream = video_stream(self._container, self._info.url)
        self._reorder = stream.codec_context.reorder_depth
        if self._info.codec == "ffv1" and has_checksums(stream.codec_context.extradata):
            # No damaged slice is ever decoded, so threads cannot change what one is painted over with.
            stream.codec_context.thread_count = max(2, decode_threads())
        self._frames = self._decode(stream, self._container.demux(stream))
        self._position, self._trouble = 0, ""

    def _seek(self, number: int, back: Fraction = Fraction(0)) -> None:
        """Stand before ``number``, at a key frame shown no later than it (and at least ``back`` seconds earlier where there is one)."""
        table = self._info.frames
        assert self._container is not None, "use FrameReader as a context manager"
        stream = video_stream(self._container, self._info.url)
        target, self._held = int(table.pts[number]), None
        while not self._info.counted and (offset := target - round(back / table.timebase)) > table.pts[0]:
            try:
                self._container.seek(offset, stream=stream, backward=True)
                packets = self._container.demux(stream)
                first = next((p for p in packets if p.is_keyframe and p.size), None)
            except (av.error.FFmpegError, OSError):
                break
            # Decoders learn the depth of B-frame reordering while decoding and forget it in the flush of a seek: frames would be dropped.
            stream.codec_context.reorder_depth = self._reorder
            if first is not None and first.pts is not None and first.pts <= target:
                self._frames = self._decode(stream, itertools.chain([first], packets))
                self._position, self._trouble = number, ""
                return
            back = max(Fraction(1), back * 2)
        self._rewind()

    def _decode(self, stream: VideoStream, packets: Iterator[Packet[Any]]) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers. An undecodable packet leaves a gap, which the reader of that frame reports."""
        count = itertools.count()
        if self._info.codec == "ffv1" and has_checksums(stream.codec_context.extradata):
            packets = self._sound(packets)
        for packet in itertools.chain(packets, [None]):
            pulse()
            if packet is not None and not packet.size:
                continue  # the demuxer's own flush packet, and the empty packets of AVI, which would flush the decoder early
            try:
                decoded = stream.decode(packet)
            except av.error.FFmpegError as error:
                self._trouble = error.strerror or str(error)
                if self._info.counted:
                    next(count)  # as it was counted when the film was probed
                continue
            for frame in decoded:
                if self._info.counted:
                    yield next(count), frame
                elif frame.pts is not None:
                    try:
                        yield self._info.frames.frame_at(frame.pts), frame
                    except KeyError:
                        self._trouble = f"a frame with the unexpected PTS {frame.pts}"

    def _sound(self, packets: Iterator[Packet[Any]]) -> Iterator[Packet[Any]]:
        """FFV1 packets without those of a failed checksum, and without those that build on them."""
        whole = True
        for packet in packets:
            whole = (whole or packet.is_keyframe) and (not packet.size or slices_sound(bytes(packet)))
            if whole:
                yield packet
                continue
            self._trouble = "FFV1 slice checksum fails"
            if self._info.counted:
                return


def damaged_luma(colour: ColourSpec) -> int:
    """Code value of the plain gray that stands for a frame that cannot be decoded: half way from black to white."""
    black, white = colour.luma_scale()
    return round((black + white) / 2)


def each_frame(info: VideoInfo, step: int = 16) -> Iterator[tuple[Samples, Samples] | MediaError]:
    """Every frame of a film in order, its luma ``[H, W]`` and chroma ``[2, Hc, Wc]``; for one that cannot be decoded, the error.

    Args:
        step: frames held at a time.

    Raises:
        MediaError: the film could be opened, and then no more.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(FrameReader(info))
        for first in range(0, len(info.frames), step):
            span = Span(first, min(first + step, len(info.frames)))
            try:
                yield from zip(*reader.planes(span), strict=True)
                continue
            except MediaError:
                pass
            for frame in span:
                try:
                    luma, chroma = reader.planes(Span(frame, frame + 1))
                except ReadFailed:
                    # A lost connection or a tired disk is no damage of the film: ask again, with a connection of its own.
                    stack.close()
                    reader = stack.enter_context(FrameReader(info))
                    try:
                        luma, chroma = reader.planes(Span(frame, frame + 1))
                    except MediaError as error:
                        yield error
                        continue
                except MediaError as error:
                    yield error
                    continue
                yield luma[0], chroma[0]


def windows(info: VideoInfo, spans: Iterable[Span], backward: bool = False, shot: Span | None = None) -> Iterator[tuple[Span, Samples]]:
    """Luma of each span in turn: native samples ``[T, H, W]``, damaged frames bridged.

    Args:
        info: the film.
        spans: in the order wanted; for ``backward`` the last part of the shot first.
        backward: each span's frames come last first.
        shot: whose frames they are; None = the film is one.

    Raises: as :meth:`FrameReader.luma`.
    """
    shot = shot or Span(0, len(info.frames))
    with FrameReader(info) as reader:
        if not backward:
            for span in spans:
                yield span, reader.bridged(span, shot)
            return
        frame_bytes = info.height * info.width * np.dtype(info.colour.dtype).itemsize
        for group in _adjoining(spans, max(1, BACKWARD_BYTES // frame_bytes)):
            first = group[-1].first
            block: NDArray[Any] = reader.bridged(Span(first, group[0].stop), shot)
            for span in group:
                yield span, np.ascontiguousarray(block[span.first - first : span.stop - first][::-1])


def _adjoining(spans: Iterable[Span], limit: int) -> Iterator[list[Span]]:
    """Groups of spans each ending where the one before begins, of at most ``limit`` frames together."""
    group: list[Span] = []
    for span in spans:
        if group and (span.stop != group[-1].first or group[0].stop - span.first > limit):
            yield group
            group = []
        group.append(span)
    if group:
        yield group
