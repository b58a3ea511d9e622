"""Tiny films made on the spot, with samples the tests know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from dvcp.media.assemble import assemble
from dvcp.media.pixels import layout_of, plane_view
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.profiles import Profile
from dvcp.media.reader import FrameReader
from dvcp.media.writer import SegmentWriter
from dvcp.timing import Span

#: Matroska's elements PixelWidth 320 and PixelHeight 256
WIDTH, HEIGHT = b"\xb0\x82\x01\x40", b"\xba\x82\x01\x00"
TWENTY_FIVE = Fraction(1, 25)


def noise(count: int, height: int, width: int, depth: int = 8, seed: int = 0) -> NDArray[Any]:
    """Luma ``[T, H, W]`` over all codes of the depth, foot- and headroom included."""
    samples = np.random.default_rng(seed).integers(0, 1 << depth, (count, height, width))
    return samples.astype(np.uint8 if depth == 8 else np.uint16)


def ramp(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """A soft moving picture that H.264 predicts well, so that it uses B-frames."""
    y, x = np.mgrid[:height, :width]
    return np.stack([(x + 2 * y + 7 * k) % 200 + 20 for k in range(count)]).astype(np.uint8)


def make_film(
    path: Path,
    luma: NDArray[Any],
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    pts: Sequence[int] | None = None,
    timebase: Fraction = TWENTY_FIVE,
    options: dict[str, str] | None = None,
    audio: str | None = None,
    tags: dict[str, Any] | None = None,
    timecode: str | None = None,
    metadata: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> str:
    """Encode luma ``[T, H, W]`` with some chroma; returns the path as text."""
    layout = layout_of(pix_fmt)
    assert layout is not None
    rng = np.random.default_rng(7)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width = luma.shape[1:]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = timebase
        for key, value in (tags or {}).items():
            setattr(stream.codec_context, key, value)
        if timecode:
            stream.metadata["timecode"] = timecode
        container.metadata.update(metadata or {})
        track: Any = container.add_stream(audio, rate=44100) if audio else None
        for k, picture in enumerate(luma):
            frame = av.VideoFrame(stream.width, stream.height, pix_fmt)
            plane_view(frame, 0, layout.depth)[:] = picture
            for index in range(1, len(frame.planes)):
                view = plane_view(frame, index, layout.depth)
                view[:] = rng.integers(0, 1 << layout.depth, (1, 1)) + np.zeros(view.shape, np.int64)
            frame.pts, frame.time_base = (k if pts is None else pts[k]), timebase
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if track is not None:
            for k in range(max(2, len(luma))):
                sound = rng.standard_normal((2, 1024)).astype(np.float32) * 0.1
                kind = track.codec_context.format.name
                samples = sound if kind == "fltp" else (sound.T.reshape(1, -1) * 3000).astype(np.int16)
                block = av.AudioFrame.from_ndarray(samples, format=kind, layout="stereo")
                block.sample_rate, block.pts, block.time_base = 44100, 1024 * k, Fraction(1, 44100)
                container.mux(track.encode(block))
            container.mux(track.encode(None))
    return str(path)


def packet_places(path: str) -> list[tuple[int, int]]:
    """(position in the file, size) of every video packet."""
    with av.open(path) as container:
        return [(p.pos or 0, p.size) for p in container.demux(video=0) if p.size]


def announced(path: Path, mark: bytes, samples: int) -> str:
    """The film with another number after the first ``mark``."""
    data = path.read_bytes()
    assert mark in data
    path.write_bytes(data.replace(mark, mark[:2] + samples.to_bytes(2, "big"), 1))
    return str(path)


def damage(path: str, packet: int) -> None:
    """Overwrite the middle of one video packet."""
    position, size = packet_places(path)[packet]
    with open(path, "r+b") as file:
        file.seek(position + size // 3)
        file.write(b"\xa5" * (size // 2))


def deliver(
    source: str, folder: Path, profile: Profile, cuts: Sequence[int] = (0,), extra_tags: Mapping[str, str] | None = None,
    info: VideoInfo | None = None,
) -> tuple[str, list[str]]:  # fmt: skip
    """The whole way of a job without colour work: segments at the cuts, then the assembled output and its warnings.

    ``info`` is assembled by, if not what the source probes as.
    """
    true = probe(source)
    info = info or true
    segments = []
    for first, stop in zip(cuts, [*cuts[1:], len(info.frames)], strict=True):
        path = str(folder / f"{profile.name}-{first}.mkv")
        with FrameReader(true) as reader, SegmentWriter(path, info, profile) as writer:
            writer.write(*reader.planes(Span(first, stop)))
        segments.append((path, Span(first, stop)))
    out = str(folder / f"out{profile.suffix}")
    return out, assemble(segments, info, out, profile, extra_tags or {})
