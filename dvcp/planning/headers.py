"""What the headers of many films say, without reading the films: enough to count hours, frames and bytes."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction

import av

from dvcp.errors import DvcpError, MediaError
from dvcp.media.pixels import ACCEPTED, layout_of
from dvcp.media.probe import video_stream
from dvcp.media.source import open_input
from dvcp.runtime.expendable import Expendable
from dvcp.store import files

#: films for each process that reads headers, and most of those: a start costs a second, an answer of a store a tenth
EACH, MOST = 16, 8


@dataclass(frozen=True)
class Header:
    """One film as its header has it.

    Attributes:
        url: where it lies.
        width, height: of the stored picture, in samples.
        depth: bits a sample.
        frames: as announced, or duration times rate where the container counts none.
        counted: the container itself gave the number.
        rate: mean frames a second.
        size: bytes of the file.
    """

    url: str
    width: int
    height: int
    depth: int
    frames: int
    counted: bool
    rate: Fraction
    size: int

    @property
    def megapixels(self) -> float:
        """Of one picture."""
        return self.width * self.height / 1e6

    @property
    def duration(self) -> Fraction:
        """Seconds."""
        return self.frames / self.rate


def read_header(url: str) -> Header:
    """Read one. Packets are not demuxed beyond what FFmpeg needs to know the streams.

    Raises:
        MediaError: unreadable, no video, a pixel format whose luma cannot be kept, or no length in the header.
    """
    with open_input(url) as container:
        stream = video_stream(container, url)
        context = stream.codec_context
        layout = layout_of(context.pix_fmt or "")
        if layout is None:
            hint = f"works with {ACCEPTED}"
            raise MediaError(f"pixel format {context.pix_fmt} has no luma plane that can be kept", file=url, hint=hint)
        if not context.width or not context.height:
            raise MediaError("the video stream has no picture size", file=url, hint="it is truncated or damaged")
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
        if length is None and container.duration:
            length = Fraction(container.duration, av.time_base)
        frames = stream.frames or (round(length * rate) if length else 0)
        if frames < 1:
            raise MediaError("its header tells no length", file=url, hint="remux it with ffmpeg -c copy, or leave it out of the plan")
        counted = bool(stream.frames)
        width, height = context.width, context.height
    return Header(url, width, height, layout.depth, frames, counted, Fraction(rate), files.size(url) or 0)


def read_headers(
    urls: Sequence[str], advance: Callable[[int], None] | None = None, silence_s: float = 60
) -> tuple[list[Header], dict[str, str]]:
    """Read all, several at a time, each in a process that may die of it.

    Args:
        advance: called with how many are read.
        silence_s: seconds one file may give no sign of life.

    Returns:
        Headers in the order of ``urls``, and for every film that cannot be read the reason.
    """
    children: queue.SimpleQueue[Expendable] = queue.SimpleQueue()
    width = max(1, min(MOST, -(-len(urls) // EACH)))

    def one(url: str) -> Header | str:
        child = children.get()
        try:
            return child.call(read_header, url, file=url)
        except (DvcpError, OSError) as error:
            return str(error)
        finally:
            children.put(child)

    found: list[Header] = []
    failed: dict[str, str] = {}
    with ExitStack() as stack, ThreadPoolExecutor(width) as pool:
        for _ in range(width):
            children.put(stack.enter_context(Expendable(silence_s)))
        for number, (url, answer) in enumerate(zip(urls, pool.map(one, urls), strict=True), 1):
            if isinstance(answer, str):
                failed[url] = answer
            else:
                found.append(answer)
            if advance is not None:
                advance(number)
    return found, failed
