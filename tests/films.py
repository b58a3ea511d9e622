"""Small real films for tests that run the whole machine: moving pictures with true colour, their gray version, and painted stills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.media.pixels import plane_view
from dvcp.media.stills import frame_to_rgb, write_still
from dvcp.nets.choice import ChoiceNet
from dvcp.nets.colorizer import Colorizer
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.exemplar import ColourNet
from dvcp.nets.fusion import FusionNet
from dvcp.nets.sepconv import KernelNet
from dvcp.nets.tcvc import FeatureFusion
from dvcp.nets.weights import save_weights
from dvcp.shots.names import still_name
from dvcp.shots.timeline import from_cuts, write_shots

SIZE = (96, 128)
Scenes = Callable[[int, int, int, tuple[int, int]], tuple[NDArray[np.generic], NDArray[np.generic]]]


@dataclass(frozen=True)
class Film:
    """Paths of one test film.

    Attributes:
        gray: the film to colour.
        stills: folder of painted stills with the shot list.
        cuts: first frames of shots 2, 3...
        frames: how many.
    """

    gray: Path
    stills: Path
    cuts: tuple[int, ...]
    frames: int


def scene(seed: int, frames: int, depth: int = 8, size: tuple[int, int] = SIZE) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Luma ``[T, H, W]`` and chroma ``[T, 2, H/2, W/2]`` of smooth coloured blobs that drift."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((3, 24, 32))
    big = np.kron(coarse, np.ones((1, 8, 8)))
    big = (big + np.roll(big, 3, 1) + np.roll(big, 3, 2) + np.roll(big, (2, 2), (1, 2))) / 4
    step = 1 << (depth - 8)
    luma, chroma = [], []
    for k in range(frames):
        view = np.roll(big, (k, 2 * k), (1, 2))[:, : size[0], : size[1]]
        luma.append(16 * step + view[0] * 200 * step)
        chroma.append(128 * step + (view[1:, ::2, ::2] - 0.5) * 180 * step)
    kind = np.uint8 if depth == 8 else np.uint16
    return np.rint(luma).astype(kind), np.rint(chroma).astype(kind)


def texture(seed: int, frames: int, depth: int = 8, size: tuple[int, int] = SIZE) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """As :func:`scene`, 8 bit, of something that a network tells apart from other seeds: bricks, waves, discs or rays, each
    in one colour that RGB can hold."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float64)
    pictures = (
        (y % 12 > 2) & ((x + 10 * (y // 12 % 2)) % 20 > 2),
        np.sin((x + 4 * np.sin(y / 7)) / 3) * 0.5 + 0.5,
        sum(np.hypot(y - cy, x - cx) < r for cy, cx, r in np.random.default_rng(0).uniform((9, 9, 4), (90, 120, 12), (25, 3))) / 2,
        np.sin(9 * np.arctan2(y - size[0] / 3, x - size[1] / 2)) > 0,
    )
    luma = np.clip(pictures[seed % 4], 0, 1) * 130 + 60
    chroma = np.full((2, size[0] // 2, size[1] // 2), 128) + np.array([(-25, 15), (20, -20), (15, 30), (-15, -25)])[seed % 4][:, None, None]
    still = np.rint(luma).astype(np.uint8), np.rint(chroma).astype(np.uint8)
    return np.stack([np.roll(still[0], k, 1) for k in range(frames)]), np.stack([still[1]] * frames)


def make_film(
    folder: Path,
    name: str = "reel",
    lengths: tuple[int, ...] = (14, 11),
    depth: int = 8,
    painted: tuple[tuple[int, ...], ...] = ((0,), (4,)),
    size: tuple[int, int] = SIZE,
    scenes: Scenes = scene,
) -> Film:
    """A gray film of ``lengths`` frames a shot, with stills painted at ``painted`` frames of each shot (counted in the shot)."""
    stills = folder / f"{name}_painted"
    stills.mkdir(parents=True)
    gray = folder / f"{name}.mkv"
    starts = [sum(lengths[:k]) for k in range(len(lengths) + 1)]
    with av.open(str(gray), "w") as out:
        stream = out.add_stream("ffv1", rate=24, options={"level": "3", "slicecrc": "1"})
        stream.height, stream.width = size
        stream.pix_fmt = "gray" if depth == 8 else "gray10le"
        stream.codec_context.color_range = 1
        number = 0
        for shot, length in enumerate(lengths):
            luma, chroma = scenes(shot + 10, length, depth, size)
            for k in range(length):
                frame = av.VideoFrame(size[1], size[0], stream.pix_fmt)
                plane_view(frame, 0, depth)[:] = luma[k]
                frame.pts, frame.time_base, frame.color_range = number, Fraction(1, 24), 1
                out.mux(stream.encode(frame))
                if k in painted[shot]:
                    rgb = frame_to_rgb(luma[k], chroma[k], ColourSpec("bt601", depth=depth))
                    write_still(str(stills / still_name(name, shot + 1, number)), rgb)
                number += 1
        out.mux(stream.encode(None))
    cuts = tuple(starts[1:-1])
    write_shots(from_cuts(str(gray), Fraction(24), number, list(cuts)), str(stills / f"{name}_shots.json"))
    return Film(gray, stills, cuts, number)


def colour_film(path: Path, lengths: tuple[int, ...] = (14, 11), size: tuple[int, int] = SIZE, seed: int = 10) -> Path:
    """A film in true colour, of ``lengths`` frames a shot."""
    parts = [scene(shot + seed, length, size=size) for shot, length in enumerate(lengths)]
    return write_planes(path, np.concatenate([luma for luma, _ in parts]), np.concatenate([chroma for _, chroma in parts]))


def write_planes(path: Path, luma: NDArray[np.generic], chroma: NDArray[np.generic]) -> Path:
    """A film of the samples given, ``[T, H, W]`` and ``[T, 2, H/2, W/2]``, 8 bit, as FFV1 at 24 frames a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without random ids in the file: precompute draws references by the digest, and tests want the same ones each time.
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream("ffv1", rate=24, options={"level": "3", "slicecrc": "1", "g": "1"})
        stream.height, stream.width = luma.shape[1:]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.color_range = 1
        for number, (y, c) in enumerate(zip(luma, chroma, strict=True)):
            frame = av.VideoFrame(stream.width, stream.height, "yuv420p")
            for index, plane in enumerate((y, *c)):
                plane_view(frame, index, 8)[:] = plane
            frame.pts, frame.time_base, frame.color_range = number, Fraction(1, 24), 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def small_weights(path: Path, taps: int = 5, seed: int = 3) -> Path:
    """Untrained weights with short kernels: the whole method, at a speed for tests."""
    import torch

    torch.manual_seed(seed)
    parts = {"local": KernelNet(taps).fold(), "fusion": FusionNet(), "descriptor": DescriptorNet(), "choice": ChoiceNet()}
    parts |= {"colour": ColourNet(), "colorizer": Colorizer(), "tcvc": FeatureFusion.of(Colorizer.channels)}
    save_weights(path, parts, {})
    return path


def automatic_weights(path: Path, seed: int = 3) -> Path:
    """Untrained weights of the methods that need no reference."""
    import torch

    torch.manual_seed(seed)
    save_weights(path, {"colorizer": Colorizer(), "tcvc": FeatureFusion.of(Colorizer.channels)}, {})
    return path


def framemd5(path: Path | str) -> list[bytes]:
    """Digest of every decoded frame, all planes, with its PTS: two files with equal lists show the same film."""
    import hashlib

    out = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            planes = b"".join(bytes(p) for p in frame.planes)
            out.append(hashlib.md5(planes + str(frame.pts).encode()).digest())
    return out
