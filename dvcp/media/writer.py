"""Segments: the source's luma, unchanged, with synthesised chroma, encoded so that segments join without re-encoding."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from types import TracebackType
from typing import Self, cast

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from dvcp.errors import MediaError, StoreError
from dvcp.media.pixels import plane_view, yuv_name
from dvcp.media.planes import delivered_aspect, delivered_colour, delivered_planes, delivered_size
from dvcp.media.probe import BOTTOM_FIRST, FIELD_ORDERS, FULL_RANGE, INTERLACED, LIMITED_RANGE, MATRICES, VideoInfo
from dvcp.media.profiles import Profile
from dvcp.media.source import av_path
from dvcp.methods.base import Samples


class SegmentWriter:
    """Encodes consecutive frames of one segment into a local Matroska file. The same input gives the same bytes.

    Segments carry no time of their own; :func:`dvcp.media.assemble.assemble` sets every PTS. Use as a context manager; the file is
    whole only after the block.
    """

    def __init__(self, path: str, info: VideoInfo, profile: Profile) -> None:
        self._path, self._info, self._profile = path, info, profile
        self._stack = ExitStack()
        self._count = 0
        self._fields: Graph | None = None
        self._container: OutputContainer
        self._stream: VideoStream

    def __enter__(self) -> Self:
        with writing(self._path):
            # bitexact: otherwise Matroska writes a random segment id and the time of day
            options = {"fflags": "+bitexact"}
            self._container = self._stack.enter_context(av.open(av_path(self._path), "w", format="matroska", container_options=options))
            self._stream = self._add_stream()
            self._fields = _field_marker(self._stream, self._info.field_order)
            # now, not at the first frame, so that a folder that cannot be written is found before any work is done
            self._container.start_encoding()
        return self

    def write(self, luma: Samples, chroma: Samples) -> None:
        """Append frames: luma ``[T, H, W]`` and chroma ``[T, 2, Hc, Wc]``, native samples of the film's depth and chroma grid.

        Raises:
            StoreError: no space.
            MediaError: the encoder refused.
            ValueError: shapes or sample types are not the film's.
        """
        info = self._info
        shape = (len(luma), info.height, info.width), (len(luma), 2, *info.colour.chroma_shape(info.height, info.width))
        if (luma.shape, chroma.shape) != shape or luma.dtype != info.colour.dtype or chroma.dtype != info.colour.dtype:
            found = f"{luma.shape} {luma.dtype} and {chroma.shape} {chroma.dtype}"
            raise ValueError(f"expected luma and chroma of shape {shape} and type {info.colour.dtype.__name__}, got {found}")
        depth = delivered_colour(info, self._profile).depth
        with writing(self._path):
            for y, c in zip(luma, chroma, strict=True):
                frame = VideoFrame(self._stream.width, self._stream.height, self._stream.pix_fmt or "")
                for index, samples in enumerate(delivered_planes(y, c, info, self._profile)):
                    plane_view(frame, index, depth)[:] = samples
                frame = self._tagged(frame)
                frame.pts, frame.time_base = self._count, self._stream.codec_context.time_base
                self._count += 1
                self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            abandon(self._stack)
            return
        with writing(self._path), self._stack:
            self._container.mux(self._stream.encode(None))

    def _tagged(self, frame: VideoFrame) -> VideoFrame:
        """The same samples with what prores_ks writes into every frame's header from the frame, and not from the stream."""
        context = self._stream.codec_context
        frame.colorspace, frame.color_range = context.colorspace, context.color_range
        frame.color_primaries, frame.color_trc = context.color_primaries, context.color_trc
        if self._fields is None:
            return frame
        self._fields.vpush(frame)
        return self._fields.vpull()

    def _add_stream(self) -> VideoStream:
        info, profile = self._info, self._profile
        colour = delivered_colour(info, profile)
        # Matroska segments count in milliseconds: a faster clock would give two frames one time stamp
        rate = min(max(info.average_rate, Fraction(1)), Fraction(500)).limit_denominator(1001)
        options = dict(profile.options)
        flags = int(Flags.bitexact)
        if info.field_order in INTERLACED:
            options |= [profile.interlaced[info.field_order in BOTTOM_FIRST]] if profile.interlaced else []
            flags |= int(Flags.interlaced_dct | Flags.interlaced_me)
        stream = cast(VideoStream, self._container.add_stream(profile.codec, rate=rate, options=options))
        context = stream.codec_context
        stream.height, stream.width = delivered_size(info, profile)
        stream.pix_fmt = yuv_name(colour.depth, colour.subsample)
        context.time_base = 1 / rate
        context.sample_aspect_ratio = delivered_aspect(info, profile)
        context.colorspace = matrix_code(info)
        context.color_range = FULL_RANGE if colour.full_range else LIMITED_RANGE
        context.color_primaries, context.color_trc = colour.primaries, colour.transfer
        context.field_order = FIELD_ORDERS.index(info.field_order)
        context.flags |= flags
        # x264's decisions depend on its number of threads, so the number is fixed, whatever the machine has
        context.thread_count = 2
        return stream


def matrix_code(info: VideoInfo) -> int:
    """CICP code of the film's matrix: as tagged; BT.601 has one for each of its two line standards, told apart by the primaries."""
    if info.matrix_tag in MATRICES:
        return info.matrix_tag
    if info.colour.matrix == "bt601":
        return 5 if info.colour.primaries == 5 else 6
    return {"bt709": 1, "bt2020": 9}[info.colour.matrix]


def _field_marker(stream: VideoStream, field_order: str) -> Graph | None:
    """A filter that marks frames as interlaced, which PyAV cannot: prores_ks takes those without a mark for bottom field first."""
    if field_order not in INTERLACED:
        return None
    graph = Graph()
    source = graph.add_buffer(template=stream, time_base=stream.codec_context.time_base)
    mark = graph.add("setfield", "bff" if field_order in BOTTOM_FIRST else "tff")
    source.link_to(mark)
    mark.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def abandon(stack: ExitStack) -> None:
    """Close a file that will not be finished: a second error, from flushing it, must not hide the first."""
    with contextlib.suppress(av.error.FFmpegError, OSError):
        stack.close()


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Turns what writing a local file can raise into StoreError (disk) or MediaError (encoder, container)."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        text = (error.strerror or str(error)).splitlines()[0]
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError("no space left to write", file=path, hint="free space or choose another work folder") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EIO):
            hint = "check that the folder exists and may be written"
            raise StoreError(f"cannot be written: {text}", file=path, hint=hint) from error
        raise MediaError(f"cannot be encoded: {text}", file=path, hint="the encoder or container refused it") from error
