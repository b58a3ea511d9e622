"""Small films of moving textured scenes with known cuts."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 96, 160


def scene(seed: int, frames: int, speed: int = 2) -> NDArray[np.float32]:
    """A pan over a picture of its own: gray float32 ``[frames, HEIGHT, WIDTH]`` in [0, 1]."""
    draw = np.random.default_rng(seed)
    width = WIDTH + speed * frames
    canvas = np.zeros((HEIGHT, width), np.float32)
    for cell in (4, 8, 16, 32):
        coarse = draw.random((HEIGHT // cell + 1, width // cell + 1)).astype(np.float32)
        canvas += np.kron(coarse, np.ones((cell, cell), np.float32))[:HEIGHT, :width] * cell
    canvas = 0.1 + 0.8 * (canvas - canvas.min()) / np.ptp(canvas)
    return np.stack([canvas[:, speed * k : speed * k + WIDTH] for k in range(frames)])


def damage(path: Path, numbers: Iterable[int]) -> None:
    """Spoil the content of these frames; the container and the checksums stay as they are."""
    with av.open(str(path)) as film:
        packets = [(packet.pos, packet.size) for packet in film.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        start, size = packets[number]
        data[start + size // 3 : start + size // 3 + 40] = bytes(40)
    path.write_bytes(data)


def write_film(path: Path, gray: NDArray[np.float32], pix_fmt: str = "gray", rate: Fraction = Fraction(24000, 1001)) -> str:
    """Lossless film of limited-range luma; ``gray`` is ``[T, H, W]`` in [0, 1]."""
    depth = 10 if "10" in pix_fmt else 8
    codes = np.rint((16 + 219 * gray) * (1 << (depth - 8))).astype(np.uint8 if depth == 8 else np.uint16)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=rate, options={"level": "3", "slicecrc": "1", "g": "1"})
        stream.codec_context.color_range = 1
        stream.width, stream.height, stream.pix_fmt = gray.shape[2], gray.shape[1], pix_fmt
        for picture in codes:
            frame = av.VideoFrame(gray.shape[2], gray.shape[1], pix_fmt)
            frame.color_range = 1
            for index, plane in enumerate(frame.planes):
                rows = np.frombuffer(plane, codes.dtype).reshape(plane.height, -1)
                rows[:, : plane.width] = picture if index == 0 else 1 << (depth - 1)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return str(path)
