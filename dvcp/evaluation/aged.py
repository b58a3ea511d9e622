"""A clip made to look like a worn 35 mm print, so that methods can be measured, with the truth known, on what archives hold.

Only luma changes: the colours to find stay those of the clip. The faults are those restoration knows, in the order a print gets them:

- softness and lost contrast (lens, copies of copies) and vignetting;
- exposure flicker, slow and from frame to frame (Delon 2006, *Movie and Video Scale-Time Equalization*);
- gate weave: the whole frame shifts by less than a pixel;
- grain, correlated in space, with the variance ``u (1 - u)`` of covered area in the Boolean model of grains (Newson et al. 2017, *A
  Stochastic Film Grain Model for Resolution-Independent Rendering*): strongest in mid-tones;
- vertical scratches that stay for some frames, and dust and blotches of a single frame, bright from the negative, dark from the print
  (Kokaram 1998, *Motion Picture Restoration*).

Training on films with synthetic wear is due to Iizuka & Simo-Serra 2019 (*DeepRemaster*), who paste scanned textures; here every fault is
computed, so that anybody gets the same film from a seed.

``python -m dvcp.evaluation.aged SRC OUT.mkv --seed 1`` writes the aged luma of a clip as a gray film, for ``dvcp colorize``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, luma_to_unit, unit_to_luma
from dvcp.errors import DvcpError
from dvcp.media.pixels import plane_view
from dvcp.media.probe import VideoInfo, probe
from dvcp.media.reader import FrameReader
from dvcp.methods.base import Samples
from dvcp.timing import Span

#: raised whenever the same parameters and seed give another picture
VERSION = 1
#: no scratch stays longer, so that no frame depends on more than so many before it
_LONGEST = 96

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Ageing:
    """How worn. Levels are in units of Y' (0 black, 1 white), lengths in shares of the picture's height; 0 switches a fault off.

    Attributes:
        softness: sigma of the blur.
        contrast_loss: share of the distance to a middle gray of 0.45 that is lost, [0, 1].
        vignette: share of the light missing in the corners, [0, 1].
        flicker: standard deviation of the exposure's slow wander, as a share of the light.
        jitter: the same from frame to frame.
        weave: standard deviation of the frame's position, in each direction.
        grain: standard deviation in mid-gray.
        grain_size: sigma of a grain.
        scratches: mean number in a picture.
        scratch_frames: mean life of one, in frames (1 or more; none lives longer than 96).
        dust: mean number of specks in a picture.
        blotches: mean number in a picture.
    """

    softness: float = 0.0012
    contrast_loss: float = 0.16
    vignette: float = 0.22
    flicker: float = 0.035
    jitter: float = 0.02
    weave: float = 0.0009
    grain: float = 0.03
    grain_size: float = 0.0014
    scratches: float = 2.5
    scratch_frames: float = 14.0
    dust: float = 9.0
    blotches: float = 0.3


def wear(seed: int) -> str:
    """Everything that decides what :func:`age` makes of a clip at the default wear, in one line."""
    return f"{Ageing()}, version {VERSION}, seed {seed}"


def age(luma: Samples, colour: ColourSpec, seed: int, ageing: Ageing | None = None, first: int = 0) -> Samples:
    """Luma of a worn print of a clip.

    Every frame depends on its number and the seed alone, so a part of a clip ages as the whole does.

    Args:
        luma: native samples ``[T, H, W]``.
        colour: how they are to be read.
        seed: 0 or more; another seed, another print.
        ageing: what wear; None = the defaults.
        first: number of the first frame of ``luma`` in its clip.

    Returns:
        Samples of the same shape and type.
    """
    worn = ageing or Ageing()
    out = np.empty_like(luma)
    for k, samples in enumerate(luma):
        out[k] = unit_to_luma(_age_frame(luma_to_unit(samples, colour), first + k, seed, worn), colour)
    return out


def _age_frame(picture: Plane, number: int, seed: int, worn: Ageing) -> Plane:
    """Frame ``number``, float32 ``[H, W]``, 0 black to 1 white."""
    height = picture.shape[0]
    if worn.softness:
        picture = cv2.GaussianBlur(picture, (0, 0), max(worn.softness * height, 0.05), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    if worn.contrast_loss:
        picture = picture + np.float32(worn.contrast_loss) * (np.float32(0.45) - picture)
    if worn.vignette:
        picture = picture * _vignette(picture.shape, worn.vignette)
    if worn.flicker or worn.jitter:
        light = 1 + worn.flicker * _wander(seed, "flicker", number) + worn.jitter * _rng(seed, "jitter", number).standard_normal()
        picture = picture * np.float32(max(light, 0.0))
    if worn.weave:
        picture = _shifted(picture, *(worn.weave * height * _sway(seed, axis, number) for axis in ("across", "along")))
    if worn.grain:
        picture = picture + _grain(picture, _rng(seed, "grain", number), worn.grain, worn.grain_size * height)
    if worn.scratches:
        for scratch in _scratches_at(seed, number, worn):
            _draw_scratch(picture, scratch, number)
    for kind, mean, sizes in (("dust", worn.dust, (0.002, 0.008)), ("blotches", worn.blotches, (0.012, 0.05))):
        rng = _rng(seed, kind, number)
        for _ in range(rng.poisson(mean)):
            _draw_spot(picture, rng, *(size * height for size in sizes))
    return picture


def _rng(seed: int, what: str, number: int) -> np.random.Generator:
    """Of one fault in one frame; ``number`` may be negative, for what began before the clip."""
    return np.random.default_rng([seed, number + _LONGEST, *what.encode()])


def _wander(seed: int, what: str, number: int) -> float:
    """A slow movement about 0 of standard deviation 1: waves of 12 to 90 frames."""
    rng = _rng(seed, what, 0)
    periods, phases = rng.uniform(12, 90, 4), rng.uniform(0, 2 * np.pi, 4)
    return float(np.sin(2 * np.pi * number / periods + phases).sum() / np.sqrt(2))


def _sway(seed: int, axis: str, number: int) -> float:
    """The frame's place in the gate, standard deviation about 1: half of it slow, half of it another in every frame."""
    return float(np.sqrt(0.5) * (_wander(seed, axis, number) + _rng(seed, f"{axis} again", number).standard_normal()))


def _vignette(shape: tuple[int, ...], missing: float) -> Plane:
    """Share of the light at every pixel: 1 in the middle, ``1 - missing`` in the corners."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) ** 2 for side in shape)
    return (1 - np.float32(missing) * ((y[:, None] + x) / 2) ** 2).astype(np.float32)


def _shifted(picture: Plane, right: float, down: float) -> Plane:
    """The picture moved by parts of a pixel; its edge is repeated."""
    move = np.array([[1, 0, right], [0, 1, down]])
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(picture, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _grain(picture: Plane, rng: np.random.Generator, strength: float, sigma: float) -> Plane:
    """What the grain adds to a picture."""
    field = rng.standard_normal(picture.shape, np.float32)
    # Smaller than this it would be white noise; blurring lowers the variance, which is given back.
    field = cv2.GaussianBlur(field, (0, 0), max(sigma, 0.3)).astype(np.float32)
    covered = np.clip(picture, 0.02, 0.98)
    return np.asarray(field * (strength / max(float(field.std()), 1e-6)) * 2 * np.sqrt(covered * (1 - covered)), np.float32)


@dataclass(frozen=True)
class _Scratch:
    """One scratch in one frame: its place in shares of the width, sigma in shares of the height, level, ends, and seed of its own."""

    place: float
    half: float
    level: float
    ends: tuple[float, float]
    seed: tuple[int, int]


def _scratches_at(seed: int, number: int, worn: Ageing) -> Iterator[_Scratch]:
    """The scratches of one frame: those that began at it or before and still live."""
    for began in range(number - _LONGEST + 1, number + 1):
        rng = _rng(seed, "scratches", began)
        for k in range(rng.poisson(worn.scratches / worn.scratch_frames)):
            lives, place, drift = rng.geometric(1 / worn.scratch_frames), rng.random(), rng.normal(0, 0.0004)
            half, level = rng.uniform(0.0008, 0.002), rng.uniform(0.2, 0.5) * (1 if rng.random() < 0.6 else -1)
            whole, middle, reach = rng.random() < 0.6, rng.random(), rng.uniform(0.15, 0.5)
            if began + min(lives, _LONGEST) > number:
                ends = (-1.0, 2.0) if whole else (middle - reach, middle + reach)
                yield _Scratch(place + drift * (number - began), half, level, ends, (seed, (began + _LONGEST) * 64 + k))


def _draw_scratch(picture: Plane, scratch: _Scratch, number: int) -> None:
    """Draw into the picture: a line that trembles a little, now deeper, now fainter along its way."""
    height, width = picture.shape
    rng = np.random.default_rng([*scratch.seed, number])
    rows = np.linspace(0, 1, height, dtype=np.float32)
    depth = np.interp(rows, np.linspace(0, 1, 9), rng.uniform(0.35, 1, 9))
    fade = np.clip(np.minimum(rows - scratch.ends[0], scratch.ends[1] - rows) / 0.05, 0, 1)
    half = max(scratch.half * height, 0.5)
    line = scratch.place * width + rng.normal(0, 0.3) + np.interp(rows, (0, 0.5, 1), rng.normal(0, 0.4, 3))
    columns = slice(max(0, int(line.min() - 4 * half)), max(0, int(line.max() + 4 * half) + 1))
    away = np.arange(width, dtype=np.float32)[None, columns] - line[:, None]
    picture[:, columns] += (scratch.level * (depth * fade)[:, None] * np.exp(-0.5 * (away / half) ** 2)).astype(np.float32)


def _draw_spot(picture: Plane, rng: np.random.Generator, least: float, most: float) -> None:
    """Draw a speck or blotch into the picture: of irregular outline, longer than wide, bright or dark, rarely opaque.

    Args:
        least, most: its radius in pixels, small ones far more often.
    """
    height, width = picture.shape
    radius = max(0.6, least * (most / least) ** (rng.random() ** 1.7))
    y, x = rng.random() * height, rng.random() * width
    reach = int(3 * radius) + 2
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    part = picture[top : int(y) + reach, left : int(x) + reach]
    down = np.arange(top, top + part.shape[0])[:, None] - y
    right = np.arange(left, left + part.shape[1])[None] - x
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.45, 1)
    u, v = (right * np.cos(turn) + down * np.sin(turn)) * stretch, (down * np.cos(turn) - right * np.sin(turn)) / stretch
    angle = np.arctan2(v, u)
    outline = 1 + sum(rng.normal(0, 0.35 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 6))
    cover = np.clip(radius * outline - np.hypot(u, v) + 0.5, 0, 1) * rng.uniform(0.45, 0.95)
    level = rng.uniform(0.85, 1) if rng.random() < 0.65 else rng.uniform(0, 0.12)
    part += (cover * (level - part)).astype(np.float32)


def write_aged(source: VideoInfo, target: str, seed: int, ageing: Ageing | None = None, frames: int | None = None) -> None:
    """Write the aged luma of a film, and nothing else, as a gray film (FFV1 in Matroska) with the same clock.

    Args:
        target: path of the file.
        frames: how many; None = all.

    Raises:
        MediaError: the source cannot be read.
    """
    depth = source.colour.depth
    with FrameReader(source) as reader, av.open(target, "w", format="matroska") as out:
        stream: Any = out.add_stream("ffv1", rate=source.average_rate, options={"level": "3", "slicecrc": "1"})
        stream.width, stream.height, stream.time_base = source.width, source.height, source.frames.timebase
        stream.pix_fmt = "gray" if depth == 8 else f"gray{depth}le"
        full = 2 if source.colour.full_range else 1
        stream.codec_context.color_range = full
        for number, pts in enumerate(source.frames.pts[:frames]):
            frame = av.VideoFrame(source.width, source.height, stream.pix_fmt)
            plane_view(frame, 0, depth)[:] = age(reader.luma(Span(number, number + 1)), source.colour, seed, ageing, number)[0]
            frame.pts, frame.time_base, frame.color_range = int(pts), source.frames.timebase, full
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError("a whole number from 0 on")
    return int(text)


def main() -> None:
    """Entry point of ``python -m dvcp.evaluation.aged``."""
    parser = argparse.ArgumentParser(prog="python -m dvcp.evaluation.aged", description="Write a clip's luma as a worn gray film.")
    parser.add_argument("source", help="the clip: a path or any fsspec URL")
    parser.add_argument("target", help="path of the gray film, FFV1 in Matroska")
    parser.add_argument("--seed", type=_seed, default=1, help="another seed, another print (default: 1)")
    parser.add_argument("--frames", type=int, help="how many frames (default: all)")
    asked = parser.parse_args()
    try:
        write_aged(probe(asked.source), asked.target, asked.seed, frames=asked.frames)
    except DvcpError as error:
        raise SystemExit(f"dvcp: {error}") from error


if __name__ == "__main__":
    main()
