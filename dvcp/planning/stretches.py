"""A look at stretches of films drawn at random: how often they cut, how fast they decode."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import VideoFrame

from dvcp.colour import ColourSpec
from dvcp.errors import DvcpError
from dvcp.media.pixels import layout_of, plane_view
from dvcp.media.probe import video_stream
from dvcp.media.source import open_input
from dvcp.planning.headers import Header
from dvcp.pulse import pulse
from dvcp.runtime.expendable import Expendable
from dvcp.shots.detect import MIN_FRAMES, CutFinder, small_gray

#: frames of a stretch: ten seconds
FRAMES = 240


@dataclass(frozen=True)
class Stretch:
    """What was seen of a film from one place on.

    Attributes:
        film: its URL.
        megapixels: of a picture.
        frames: decoded.
        cuts: found among them.
        decode_s: seconds of decoding, all frames; the way from the key frame before is in it, as it is in every segment's.
        decode_cpu_s: of it, at work.
    """

    film: str
    megapixels: float
    frames: int
    cuts: int
    decode_s: float
    decode_cpu_s: float

    @property
    def exposure(self) -> int:
        """Frames at which a cut could have been found: none is told near the ends."""
        return max(0, self.frames - 2 * MIN_FRAMES + 1)


def draw(films: Sequence[Header], count: int, seed: int, frames: int = FRAMES) -> list[tuple[Header, Fraction]]:
    """``count`` places, every frame of every film equally likely: (film, seconds after its beginning), rising, for fewer seeks.

    A film that is shorter than a stretch is taken from its beginning.
    """
    rng = np.random.default_rng(seed)
    lengths = np.array([film.frames for film in films], np.float64)
    chosen = rng.choice(len(films), count, p=lengths / lengths.sum())
    places = []
    for number in sorted(chosen.tolist()):
        film = films[number]
        first = int(rng.integers(0, max(1, film.frames - frames)))
        places.append((film, first / film.rate))
    return places


def frames_from(url: str, start: Fraction, count: int) -> Iterator[VideoFrame]:
    """Up to ``count`` frames as the decoder gives them, beginning with the first shown ``start`` seconds after the film's beginning, or
    with the film's first where it cannot be found by time. Raises MediaError."""
    with open_input(url) as container:
        stream = video_stream(container, url)
        base = stream.time_base or Fraction(1)
        first = (stream.start_time or 0) + round(start / base)
        if start:
            try:
                container.seek(first, stream=stream, backward=True)
            except av.error.FFmpegError:
                first = 0
        given = 0
        for packet in itertools.chain(container.demux(stream), [None]):
            pulse()
            if packet is not None and not packet.size:
                continue
            try:
                decoded = stream.decode(packet)
            except av.error.FFmpegError:
                continue  # a damaged picture: the run will list it, here the others say enough
            for frame in decoded:
                if start and first and frame.pts is not None and frame.pts < first:
                    continue
                yield frame
                given += 1
                if given == count:
                    return


def look_at(film: Header, start: Fraction, count: int = FRAMES) -> Stretch:
    """Decode ``count`` frames and find their cuts. Raises MediaError, and ConfigError without PySceneDetect."""
    finder, frames, wall, cpu = CutFinder(rate=film.rate), 0, 0.0, 0.0
    source = frames_from(film.url, start, count)
    while True:
        began, worked = time.perf_counter(), time.process_time()
        frame = next(source, None)
        wall, cpu = wall + time.perf_counter() - began, cpu + time.process_time() - worked
        if frame is None:
            break
        layout = layout_of(frame.format.name)
        if layout is not None:
            colour = ColourSpec(depth=layout.depth, subsample=layout.subsample)
            finder.see(small_gray(plane_view(frame, 0, layout.depth), colour))
            frames += 1
    return Stretch(film.url, film.megapixels, frames, len(finder.finish()) if frames else 0, wall, cpu)


def look_at_all(
    places: Sequence[tuple[Header, Fraction]], child: Expendable, advance: Callable[[int], None] | None = None
) -> tuple[list[Stretch], dict[str, str]]:
    """Look at all of them in ``child``; those that cannot be decoded are told by film, with the reason."""
    found: list[Stretch] = []
    failed: dict[str, str] = {}
    for number, (film, start) in enumerate(places, 1):
        try:
            stretch = child.call(look_at, film, start, file=film.url)
        except DvcpError as error:
            failed[film.url] = str(error)
        else:
            if stretch.frames:
                found.append(stretch)
            else:
                failed[film.url] = f"{film.url}: nothing can be decoded {float(start):.0f} s after its beginning"
        if advance is not None:
            advance(number)
    return found, failed
