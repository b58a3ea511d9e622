"""What the exemplar method learns from: runs of frames with a reference, drawn from film clips and from photographs made to move.

Deep Exemplar-based Video Colorization, section 4: real clips, and pictures distorted at random as fake films; the reference is a picture of
the same scene (its truth is known then) or one found alike among all others. References are spoiled on purpose, as archives spoil them.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import rgb_to_ycbcr
from dvcp.errors import ConfigError, DvcpError
from dvcp.media.stills import read_still
from dvcp.ops.codes import from_codes, to_codes
from dvcp.ops.flow import half_flow, standing
from dvcp.training.clips import fingerprint
from dvcp.training.local import augment_gray

log = logging.getLogger(__name__)
#: size of a drawn frame, luma; its colours are worked on at half of it
HEIGHT, WIDTH = 160, 288
#: chances: a photograph rather than a clip; a reference of the same scene, for clips and for photographs (the paper has 0.3);
#: colours turned; film flicker and grain; a start from a coloured frame where the scene is the same; a spoiled start
PHOTOGRAPH, SAME_CLIP, SAME_PHOTOGRAPH, TURNED, AGED, STARTED, SPOILED = 0.35, 0.75, 0.4, 0.3, 0.5, 0.6, 0.5
#: pixels of a photograph that are kept
_MOST = 1 << 18
#: how many of the pictures most alike a reference is chosen from
_ALIKE = 5


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip or a photograph: uint8 codes ``[T, 3, H, W]``, Y', Cb, Cr on one grid."""

    name: str
    planes: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Draw:
    """Consecutive frames and what they are coloured from.

    Attributes:
        luma: Y' as the networks see it ``[T, 1, H, W]``, perhaps aged.
        truth: ``[T, 3, H, W]``, as it was, colours centred at 0.
        place: where each pixel of frame k + 1 was in frame k, ``[T - 1, 2, H/2, W/2]``, in pixels of the half-size grid.
        reference: ``[1, 3, H', W']``, sides multiples of 16.
        same: whether the reference shows the same scene in the same colours, so that the truth is what is wanted.
        start: the colours of frame 0 are given, at this sharpness of doubt (0: exact); None when nothing is.
        noise: seed of what spoils features.
    """

    luma: Tensor
    truth: Tensor
    place: Tensor
    reference: Tensor
    same: bool
    start: float | None
    noise: int

    def to(self, device: torch.device) -> Draw:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("luma", "truth", "place", "reference")}
        return replace(self, **moved)


def fingerprint_of(scenes: Sequence[Scene]) -> str:
    """:func:`dvcp.training.clips.fingerprint` of scenes, by name, size and the first picture of each."""
    return fingerprint(f"{s.name} {s.planes.shape} {zlib.crc32(s.planes[0].tobytes())}" for s in scenes)


def load_photographs(folder: str) -> list[Scene]:
    """Every colour picture of a folder, sorted by name, made small; others are logged and left out.

    Raises:
        ConfigError: no such folder.
    """
    if not Path(folder).is_dir():
        raise ConfigError("no such folder of photographs", file=folder, hint="check the name, or leave --stills out")
    found = []
    for path in sorted(Path(folder).iterdir()):
        try:
            still = read_still(str(path), _MOST)
        except DvcpError as error:
            log.warning("left out: %s", error)
            continue
        if still.gray or min(still.rgb.shape[:2]) < HEIGHT:
            continue
        ycc = torch.from_numpy(rgb_to_ycbcr(still.rgb, "bt601")).permute(2, 0, 1)[None]
        found.append(Scene(path.name, to_codes(ycc)))
    return found


class Stock:
    """Clips and photographs, and for each of them which others look alike.

    Args:
        vectors: unit vectors ``[N, C]``, what is in each scene, clips first.
    """

    def __init__(self, clips: Sequence[Scene], photographs: Sequence[Scene], vectors: NDArray[np.float32]) -> None:
        self.clips, self.photographs = clips, photographs
        self._scenes = [*clips, *photographs]
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -1)
        self._alike = np.argsort(-likeness, axis=1)[:, : min(_ALIKE, len(likeness) - 1)]

    def draw(self, frames: int, rng: np.random.Generator) -> Draw:
        """One run of ``frames`` frames."""
        photograph = bool(self.photographs) and rng.random() < PHOTOGRAPH
        number = int(rng.integers(len(self.photographs))) + len(self.clips) if photograph else int(rng.integers(len(self.clips)))
        scene = self._scenes[number]
        # A scene that is the only one has no other to take colours from.
        same = rng.random() < (SAME_PHOTOGRAPH if photograph else SAME_CLIP) or len(self._scenes) == 1
        if photograph:
            truth, picture = moved(scene.planes[0], frames, rng), scene.planes[0]
        else:
            truth, first = _run(scene, frames, rng)
            # often the frame that the run starts from, as when a frame of the shot is painted; else one near or far
            picture = scene.planes[first if rng.random() < 0.3 else int(rng.integers(len(scene.planes)))]
        if not same:
            other = self._scenes[int(rng.choice(self._alike[number]))]
            picture = other.planes[int(rng.integers(len(other.planes)))]
        reference = cropped(from_codes(torch.from_numpy(picture[None].copy())), rng, least=0.7 if same else 0.85)
        if same and rng.random() < TURNED:
            truth, reference = _turned(truth, reference, rng)
        luma = truth[:, :1]
        if rng.random() < AGED:
            luma = augment_gray(luma[:, 0], rng, strength=0.3)[:, None]
        start = None
        if same and rng.random() < STARTED:
            start = float(rng.uniform(0.2, 1.0)) if rng.random() < SPOILED else 0.0
        return Draw(luma, truth, places(luma), _spoiled(reference, rng), same, start, int(rng.integers(2**31)))


def _run(scene: Scene, frames: int, rng: np.random.Generator) -> tuple[Tensor, int]:
    """Consecutive frames of a clip, forward or backward, one crop of all; and the number of the first."""
    count = len(scene.planes)
    step = 1 if count <= 2 * frames or rng.random() < 0.7 else 2
    numbers = np.arange(frames) * step + int(rng.integers(max(1, count - (frames - 1) * step)))
    numbers = np.minimum(numbers, count - 1)
    if rng.random() < 0.5:
        numbers = numbers[::-1]
    planes = from_codes(torch.from_numpy(np.stack([scene.planes[k] for k in numbers])))
    return cropped(planes, rng, size=(HEIGHT, WIDTH)), int(numbers[0])


def cropped(planes: Tensor, rng: np.random.Generator, size: tuple[int, int] | None = None, least: float = 0.6) -> Tensor:
    """A random part of pictures ``[T, 3, H, W]``, mirrored half of the time; on a grid of ``size``, or about as large as drawn frames."""
    height, width = planes.shape[-2:]
    scale = float(rng.uniform(least, 1.0))
    if size is None:
        rows, columns = int(height * scale), int(width * scale)
        shrink = min(1.0, HEIGHT / min(rows, columns))
        size = max(32, round(rows * shrink / 16) * 16), max(32, round(columns * shrink / 16) * 16)
    else:
        field = min(height / size[0], width / size[1]) * scale
        rows, columns = int(size[0] * field), int(size[1] * field)
    y, x = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    part = F.interpolate(planes[..., y : y + rows, x : x + columns], size=size, mode="bilinear", antialias=True, align_corners=False)
    return part.flip(-1) if rng.random() < 0.5 else part


def moved(picture: NDArray[np.uint8], frames: int, rng: np.random.Generator) -> Tensor:
    """A photograph ``[3, H, W]`` as a film ``[T, 3, HEIGHT, WIDTH]``: it drifts, swells and bends smoothly, the same way in every frame."""
    whole = from_codes(torch.from_numpy(picture[None].copy()))
    if whole.shape[-2] > whole.shape[-1]:
        # A film lies: an upright picture gives its middle.
        rows = max(HEIGHT, int(whole.shape[-1] * HEIGHT / WIDTH))
        top = int(rng.integers(whole.shape[-2] - rows + 1))
        whole = whole[..., top : top + rows, :]
    still = cropped(whole, rng, size=(HEIGHT, WIDTH))
    bend = torch.from_numpy(rng.normal(0, 1, (1, 2, 4, 6)).astype(np.float32))
    field = F.interpolate(bend, size=(HEIGHT, WIDTH), mode="bicubic", align_corners=True)[0] * float(rng.uniform(0, 2.5))
    drift = torch.from_numpy(rng.normal(0, 2.0, 2).astype(np.float32))[:, None, None]
    centre = torch.tensor([WIDTH / 2, HEIGHT / 2])[:, None, None]
    swell = float(rng.normal(0, 0.006))
    rest = standing(HEIGHT, WIDTH)
    places = torch.stack([rest + k * (field + drift + swell * (rest - centre)) for k in range(frames)])
    grid = torch.stack([(places[:, 0] * 2 + 1) / WIDTH - 1, (places[:, 1] * 2 + 1) / HEIGHT - 1], -1)
    return F.grid_sample(still.expand(frames, -1, -1, -1), grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _turned(truth: Tensor, reference: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The same scene in other colours, hue turned alike in both: so colours are learned to come from the reference."""
    angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.3)
    turn = torch.tensor(gain * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]), dtype=torch.float32)

    def other(planes: Tensor) -> Tensor:
        return torch.cat([planes[:, :1], torch.einsum("ij,bjhw->bihw", turn, planes[:, 1:]).clamp(-0.5, 0.5)], 1)

    return other(truth), other(reference)


def _spoiled(reference: Tensor, rng: np.random.Generator) -> Tensor:
    """A reference as archives have them: soft, grainy, too light or too dark."""
    luma, chroma = reference[:, :1], reference[:, 1:]
    if rng.random() < 0.3:
        small = F.interpolate(luma, scale_factor=0.5, mode="area")
        luma = F.interpolate(small, size=luma.shape[-2:], mode="bilinear", align_corners=False)
    if rng.random() < 0.5:
        luma = augment_gray(luma[:, 0], rng, strength=0.7)[:, None]
    return torch.cat([luma.clamp(0, 1), chroma], 1)


def places(luma: Tensor) -> Tensor:
    """As in :class:`Draw`, by the flow search of the method itself."""
    grays = (luma[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    height, width = grays.shape[1] // 2, grays.shape[2] // 2
    return torch.stack([standing(height, width) + half_flow(gray, last, height, width) for last, gray in pairwise(grays)])
