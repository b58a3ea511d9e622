"""The feature fusion of TCVC, regularised by itself: no colour truth, only that what moves keeps its colour (section 3.2, eqs. 5 to 7).

G stands still; it gives the features of the anchors and makes colours of what the fusion finds between them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.nets.generator import Generator, light_of
from dvcp.nets.interval import ahead, behind, between, leaning
from dvcp.nets.tcvc import FeatureFusion
from dvcp.ops.codes import from_codes
from dvcp.ops.flow import dis_flow, resized, warp
from dvcp.training.clips import Clip, hold_out
from dvcp.training.local import augment_gray
from dvcp.training.loop import Schedule, train
from dvcp.training.losses import CODES
from dvcp.training.scenes import Scene, cropped, fingerprint_of

log = logging.getLogger(__name__)
#: size of a drawn frame, luma
HEIGHT, WIDTH = 128, 192
#: sharpness of the visibility mask (alpha of eq. 6)
ALPHA = 50.0
#: weight of chroma that is lost beside what the backward pass brings, as a share, squared: without it the loss was lowered by paling
KEEP = 300.0
#: chance of film flicker and grain on a run
AGED = 0.3


@dataclass(frozen=True, eq=False)
class Run:
    """Consecutive frames between two anchors, both included.

    Attributes:
        luma: Y' ``[T, 1, H, W]``.
        to_next, to_last: ``[T - 1, 2, H, W]``, motion of frame i into i + 1, and of i + 1 into i.
        two_back: ``[T - 2, 2, H, W]``, motion of frame i + 2 into i.
    """

    luma: Tensor
    to_next: Tensor
    to_last: Tensor
    two_back: Tensor

    def to(self, device: torch.device) -> Run:
        """The same on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("luma", "to_next", "to_last", "two_back")})


def measured_run(luma: Tensor) -> Run:
    """Frames ``[T, 1, H, W]`` and their motion."""
    return Run(luma, dis_flow(luma[:-1], luma[1:]), dis_flow(luma[1:], luma[:-1]), dis_flow(luma[2:], luma[:-2]))


def draw_run(scene: Scene, frames: int, rng: np.random.Generator) -> Run:
    """Consecutive frames of a clip, forward or backward, in one crop, perhaps aged."""
    first = int(rng.integers(len(scene.planes) - frames + 1))
    numbers = range(first, first + frames)
    luma = from_codes(torch.from_numpy(np.stack([scene.planes[k] for k in (numbers if rng.random() < 0.5 else numbers[::-1])])))
    luma = cropped(luma, rng, size=(HEIGHT, WIDTH))[:, :1]
    if rng.random() < AGED:
        luma = augment_gray(luma[:, 0], rng, strength=0.2)[:, None]
    return measured_run(luma.clamp(0, 1))


@dataclass(frozen=True, eq=False)
class Sides:
    """A run as the fusion meets it, on the grid of the generator's features.

    Attributes:
        first: features of the first anchor ``[1, C, h, w]``.
        back: F^b of the internal frames, and the features of the last anchor.
        light: (L* - 50) / 100 ``[T, 1, h, w]``.
        to_next, to_last: motion, as in :class:`Run`.
    """

    first: Tensor
    back: list[Tensor]
    light: Tensor
    to_next: Tensor
    to_last: Tensor


class Studio(nn.Module):
    """The fusion that learns and the generator that does not."""

    def __init__(self, generator: Generator, fusion: FeatureFusion) -> None:
        super().__init__()
        self.fusion = fusion
        # In a list: frozen, and no part of the checkpoint.
        self._generator = [generator]

    @property
    def generator(self) -> Generator:
        return self._generator[0]

    def sides(self, run: Run) -> Sides:
        """Both anchors, and what the backward pass brings."""
        with torch.no_grad():
            first, last = self.generator.features(run.luma[[0, -1]]).split(1)
            to_next, to_last = (resized(flow, *first.shape[-2:]) for flow in (run.to_next, run.to_last))
            return Sides(first, behind(last, to_next[1:]), light_of(run.luma, first), to_next, to_last)

    def fused(self, sides: Sides) -> list[Tensor]:
        """F~ of the internal frames."""
        prior, lumas = leaning(sides.light, sides.to_next, sides.to_last), self.fusion.luma_features(sides.light)
        return [features for features, _ in between(self.fusion, sides.first, lumas, sides.back, sides.to_last[:-1], prior)]

    def colours(self, run: Run, sides: Sides, inner: Sequence[Tensor]) -> Tensor:
        """Chroma of all frames ``[T, 2, h, w]``, given the features of the internal ones."""
        return self.generator.colours(torch.cat([sides.first, *inner, sides.back[-1]]), run.luma)

    def forward(self, run: Run) -> Tensor:
        """The temporal warping loss of one run, in code values squared, and that colours do not pale."""
        sides = self.sides(run)
        chroma = self.colours(run, sides, self.fused(sides))
        with torch.no_grad():
            brought = self.generator.colours(torch.cat(sides.back[:-1]), run.luma[1:-1]).abs().mean()
        lost = 1 - chroma[1:-1].abs().mean() / brought.clamp(min=1e-4)
        return warping_loss(run, chroma, sides.light) + KEEP * lost.clamp(min=0).square()


def warping_loss(run: Run, chroma: Tensor, light: Tensor) -> Tensor:
    """Eqs. 5 and 6 for d = 1 and 2: colours of a frame against those of d frames ago, brought along, where luma says it is the same.

    Args:
        chroma: ``[T, 2, h, w]`` of every frame.
        light: (L* - 50) / 100 ``[T, 1, h', w']``.
    """
    height, width = chroma.shape[-2:]
    light = F.interpolate(light, size=(height, width), mode="bilinear", align_corners=False)
    total = chroma.new_zeros(())
    for d, flow in ((1, run.to_last), (2, run.two_back)):
        moved = warp(torch.cat([chroma, light], 1)[:-d], resized(flow, height, width))
        mask = torch.exp(-ALPHA * (light[d:] - moved[:, 2:]).square())
        total = total + (mask * (chroma[d:] - moved[:, :2]) * CODES).square().mean()
    return total


def held_out_scores(studio: Studio, runs: Sequence[Run]) -> dict[str, float]:
    """Warping loss of fused features, of those mixed half and half, and of G frame by frame; and the share of G's chroma kept."""
    generator = studio.generator
    device = next(studio.parameters()).device
    scores = []
    for run in (one.to(device) for one in runs):
        sides = studio.sides(run)
        halves = [(a + b) / 2 for a, b in zip(ahead(sides.first, sides.to_last[:-1]), sides.back[:-1], strict=True)]
        fused, mixed = (studio.colours(run, sides, inner) for inner in (studio.fused(sides), halves))
        single = torch.cat([generator.colours(generator.features(f[None]), f[None]) for f in run.luma])
        losses = [float(warping_loss(run, chroma, sides.light)) for chroma in (fused, mixed, single)]
        scores.append([*losses, float(fused.abs().mean()), float(single.abs().mean())])
    loss, half, single_loss, kept, whole = np.mean(scores, axis=0)
    return {"fused": float(loss), "mixed": float(half), "single": float(single_loss), "kept": float(kept / max(whole, 1e-6))}


def train_tcvc(
    clips: Sequence[Clip],
    generator: Generator,
    folder: Path,
    schedule: Schedule,
    *,
    frames: int = 10,
    start: str = "",
) -> tuple[FeatureFusion, dict[str, float]]:
    """Train the fusion.

    Args:
        clips: one shot each; only their luma is learned from. Every ninth is held out.
        generator: in eval mode; its weights stay.
        frames: internal frames of an interval, the paper's N.
        start: digest of the generator's weights.

    Raises:
        ConfigError: there is no clip, or none is long enough.
        WeightsError: the folder holds a checkpoint of another training.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(schedule.seed)
    fusion = FeatureFusion.of(generator.channels)
    # From what motion alone brings: the refining begins as nothing.
    for parameter in fusion.refine.last.parameters():
        nn.init.zeros_(parameter)
    studio = Studio(generator.to(device), fusion).to(device)
    chosen, held = hold_out([Scene(clip.name, clip.planes) for clip in clips if len(clip) >= frames + 2])
    fixed = [draw_run(scene, frames + 2, np.random.default_rng(number)) for number, scene in enumerate(held)]
    optimiser = torch.optim.Adam(fusion.parameters(), lr=schedule.lr, betas=(0.9, 0.99))

    def draw(rng: np.random.Generator, count: int) -> list[Run]:
        return [draw_run(chosen[int(rng.integers(len(chosen)))], frames + 2, rng) for _ in range(count)]

    def loss_of(net: nn.Module, runs: list[Run]) -> Tensor:
        return torch.stack([net(run.to(device)) for run in runs]).mean()

    log.info("tcvc: %d clips, %d held out, %s", len(chosen), len(held), device)
    used = fingerprint_of([*chosen, *held])
    measured = train(
        studio, optimiser, schedule, folder, draw=draw, loss_of=loss_of, held_out=lambda: held_out_scores(studio, fixed),
        about={"stage": "tcvc", "frames": frames, "data": used, "start": start},
    )  # fmt: skip
    return fusion.eval(), measured
