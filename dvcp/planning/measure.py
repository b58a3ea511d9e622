"""Stage times by running the product's own stages on a few frames of the very films."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from dvcp.errors import MediaError
from dvcp.media.assemble import assemble
from dvcp.media.compare import compare
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import Profile, profile_of
from dvcp.media.reader import FrameReader, each_frame
from dvcp.media.writer import SegmentWriter
from dvcp.methods import create
from dvcp.methods.base import Method, Reference, Samples, Window
from dvcp.planning.calibration import Cost, Point
from dvcp.planning.headers import Header
from dvcp.planning.stretches import frames_from
from dvcp.shots.survey import survey
from dvcp.store.files import put_file
from dvcp.store.fixity import sha256_file
from dvcp.timing import Span

#: windows a method is timed on, behind one that is not counted: first calls compile and load
WINDOWS = 2
#: frames whose output is weighed
WEIGHED = 8


@dataclass(frozen=True)
class Measured:
    """One clip: its stages, the bytes of its output a frame, and the seconds to hash and to put a byte here."""

    point: Point
    hash_byte: float
    put_byte: float


@contextmanager
def clip(film: Header, start: Fraction, count: int) -> Iterator[tuple[VideoInfo, str]]:
    """Some frames of a film as a film of their own that costs nothing to decode, and a folder to work in, gone after the block.

    Raises:
        MediaError: nothing can be decoded there.
    """
    with tempfile.TemporaryDirectory(prefix="dvcp-plan-") as folder:
        path = os.path.join(folder, "clip.nut")
        with av.open(path, "w", format="nut") as out:
            stream: Any = None
            for number, frame in enumerate(frames_from(film.url, start, count)):
                if stream is None:
                    stream = out.add_stream("rawvideo", rate=film.rate.limit_denominator(1001))
                    stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                frame.pts, frame.time_base = number, 1 / film.rate.limit_denominator(1001)
                out.mux(stream.encode(frame))
            if stream is not None:
                out.mux(stream.encode(None))
        if stream is None:
            where = f"{float(start):.0f} s after its beginning"
            raise MediaError(f"nothing can be decoded {where}", file=film.url, hint="see what dvcp shots says of it")
        yield probe(path), folder


def plain_bytes(film: Header, start: Fraction, profile: str) -> float:
    """Bytes a frame of the output without colour. Raises MediaError."""
    with clip(film, start, WEIGHED) as (info, folder), FrameReader(info) as reader:
        return _plain(info, reader.luma(Span(0, len(info.frames))), profile_of(profile), folder)


def measure(film: Header, start: Fraction, decode: Cost, method: str, options: Mapping[str, Any], profile: str, threads: int) -> Measured:
    """Run every stage on some frames.

    Args:
        start: seconds after the film's beginning.
        decode: of a frame of this film, measured on a longer stretch.
        threads: of the CPU, for networks.

    Raises:
        DvcpError: frames that cannot be decoded, or a method that cannot run.
    """
    import torch

    torch.set_num_threads(threads)
    engine = create(method, **options)
    kind = profile_of(profile)
    # The method's first frame is painted, and each window has to be whole.
    with clip(film, start, 1 + (1 + WINDOWS) * engine.window.frames) as (info, folder):
        count = len(info.frames)
        whole = Span(0, count)
        with FrameReader(info) as reader:
            luma = reader.luma(whole)
        raw = _timed(lambda: [None for _ in each_frame(info)]) * (1 / count)
        looked = _timed(lambda: survey(info)) * (1 / count)
        chroma, match, propagate = _run(engine, luma, info)
        path = os.path.join(folder, "segment.mkv")
        encode = _timed(lambda: _write(path, info, kind, luma, chroma)) * (1 / count)
        size = os.path.getsize(path)
        hashed = _timed(lambda: sha256_file(path)).wall / size
        put = _timed(lambda: put_file(path, os.path.join(folder, "stored.mkv"))).wall / size
        out = os.path.join(folder, "out" + kind.suffix)
        joined = _timed(lambda: assemble([(path, whole)], info, out, kind)) * (1 / count)
        compared = _timed(lambda: compare(out, info.url, kind)) * (1 / count)
        colour_bytes = size / count / _plain(info, luma, kind, folder)
    stages = {
        "decode": decode, "survey": _less(looked, raw), "match": match, "propagate": propagate, "encode": encode,
        "assemble": joined, "verify": _less(compared, raw),
    }  # fmt: skip
    return Measured(Point(film.megapixels, count, stages, colour_bytes), hashed, put)


def _run(engine: Method, luma: Samples, info: VideoInfo) -> tuple[Samples, Cost, Cost]:
    """Chroma ``[T, 2, Hc, Wc]`` of all frames, native samples, and the cost of matching and of propagating a frame."""
    from dvcp.colour import unit_to_chroma

    colour, size = info.colour, engine.window.frames
    grid = colour.chroma_shape(info.height, info.width)
    y, x = np.mgrid[: grid[0], : grid[1]].astype(np.float32)
    painted = np.stack([0.2 * np.sin(x / 37 + y / 53), 0.2 * np.cos(x / 41 - y / 29)]).astype(np.float32)
    reference = Reference(luma[0], painted, True, "0" * 64)
    anchor = engine.anchor([] if engine.automatic else [reference], colour)
    state = None if engine.automatic else engine.start(reference, colour)
    made, match, propagate, counted = [painted[None]], Cost(0, 0), Cost(0, 0), 0
    for first in range(1, len(luma), size):
        frames = range(first, min(first + size, len(luma)))
        window = Window(tuple(frames), luma[frames.start : frames.stop], colour)
        if first == 1:
            engine.propagate(state, window, engine.match(window, anchor))
        began = _now()
        evidence = engine.match(window, anchor)
        between = _now()
        state, chroma = engine.propagate(state, window, evidence)
        after = _now()
        made.append(chroma.planes)
        match, propagate = _add(match, began, between), _add(propagate, between, after)
        counted += len(frames)
    share = 1 / max(1, counted)
    return unit_to_chroma(np.concatenate(made), colour), match * share, propagate * share


def _write(path: str, info: VideoInfo, kind: Profile, luma: Samples, chroma: Any) -> None:
    with SegmentWriter(path, info, kind) as out:
        out.write(luma, chroma)


def _plain(info: VideoInfo, luma: Samples, kind: Profile, folder: str) -> float:
    shape = (len(luma), 2, *info.colour.chroma_shape(info.height, info.width))
    path = os.path.join(folder, "plain.mkv")
    _write(path, info, kind, luma, np.full(shape, 1 << (info.colour.depth - 1), info.colour.dtype))
    return os.path.getsize(path) / len(luma)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _add(cost: Cost, began: tuple[float, float], ended: tuple[float, float]) -> Cost:
    return Cost(cost.wall + ended[0] - began[0], cost.cpu + ended[1] - began[1])


def _timed(work: Any) -> Cost:
    began = _now()
    work()
    return _add(Cost(0, 0), began, _now())


def _less(whole: Cost, part: Cost) -> Cost:
    """What is left of one without the other; never nothing, for clocks tremble."""
    return Cost(max(whole.wall - part.wall, whole.wall / 20), max(whole.cpu - part.cpu, whole.cpu / 20))
