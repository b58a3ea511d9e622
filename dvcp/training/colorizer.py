"""G, the colorizer that ships, on photographs and frames of clips: one gray picture to its likely colours.

Every picture is seen twice, shifted and with other exposure and grain, and both answers must agree where they show the same: what a colour
follows must not be what changes from frame to frame, or a film flickers before anything steadies it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.errors import ConfigError
from dvcp.nets.colorizer import Colorizer
from dvcp.ops.codes import from_codes
from dvcp.training.clips import Clip, hold_out
from dvcp.training.local import augment_gray
from dvcp.training.loop import Schedule, train
from dvcp.training.losses import CODES
from dvcp.training.scenes import Scene, cropped, fingerprint_of

log = logging.getLogger(__name__)
#: size of a drawn picture, luma, and how far the second view may be shifted; all multiples of 2
HEIGHT, WIDTH, SHIFT = 160, 224, 16
#: chance of a photograph rather than a frame of a clip
PHOTOGRAPH = 0.6
#: weight of the agreement of two views beside their errors
STEADY = 0.5
#: mean absolute chroma, in codes, at which a pixel counts twice: without it all becomes the brown that is never far off
LIVELY = 12.0


@dataclass(frozen=True, eq=False)
class Views:
    """Two views of so many pictures.

    Attributes:
        luma: Y' as the network sees it ``[2 N, 1, HEIGHT, WIDTH]``, first views first.
        chroma: as it was, centred at 0 ``[2 N, 2, HEIGHT / 2, WIDTH / 2]``.
        shift: rows and columns of half size by which the second view lies lower and further right, ``[N, 2]``.
    """

    luma: Tensor
    chroma: Tensor
    shift: Tensor


def draw_views(scene: Scene, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Luma ``[2, 1, HEIGHT, WIDTH]``, chroma ``[2, 2, ...]`` and shift ``[2]`` of one picture or a random frame of a clip."""
    picture = from_codes(torch.from_numpy(scene.planes[int(rng.integers(len(scene.planes)))][None].copy()))
    whole = cropped(picture, rng, size=(HEIGHT + SHIFT, WIDTH + SHIFT))
    shift = rng.integers(SHIFT // 2 + 1, size=2)
    second = whole[..., 2 * shift[0] :, 2 * shift[1] :]
    views = torch.cat([part[..., :HEIGHT, :WIDTH] for part in (whole, second)])
    luma = torch.cat([augment_gray(view[None, 0], rng, strength=0.5) for view in views])[:, None].clamp(0, 1)
    return luma, F.avg_pool2d(views[:, 1:], 2), torch.from_numpy(shift)


def colour_loss(found: Tensor, truth: Tensor) -> Tensor:
    """Distance of chroma ``[B, 2, h, w]``, in codes, lively pixels counting more."""
    weight = 1 + truth.abs().mean(1, keepdim=True) * CODES / LIVELY
    return (weight * F.smooth_l1_loss(found * CODES, truth * CODES, reduction="none", beta=4.0)).mean()


def steadiness(found: Tensor, shift: Tensor) -> Tensor:
    """Mean distance, in codes, of what two views ``[2 N, 2, h, w]`` (first views first) say of the same places."""
    first, second = found.chunk(2)
    height, width = found.shape[-2:]
    away = []
    for a, b, (down, right) in zip(first, second, shift.tolist(), strict=True):
        away.append((a[:, down:, right:] - b[:, : height - down, : width - right]).abs().mean())
    return torch.stack(away).mean() * CODES


def held_out_scores(net: Colorizer, scenes: Sequence[Scene]) -> dict[str, float]:
    """On fixed pictures: PSNR of chroma, that of gray, share of the truth's chroma, and how far two views disagree, in codes."""
    device = next(net.parameters()).device
    psnr: list[float] = []
    gray: list[float] = []
    lively, steady = [], []
    for number, scene in enumerate(scenes):
        luma, chroma, shift = draw_views(scene, np.random.default_rng(number))
        found, chroma = net(luma.to(device)), chroma.to(device)
        for score, guess in ((psnr, found), (gray, torch.zeros_like(found))):
            score.append(float(-10 * torch.log10((guess - chroma).square().mean() + 1e-7)))
        lively.append((float(found.abs().mean()), float(chroma.abs().mean())))
        steady.append(float(steadiness(found, shift[None])))
    share = float(np.sum(lively, axis=0)[0] / max(1e-6, np.sum(lively, axis=0)[1]))
    return {"psnr": float(np.mean(psnr)), "psnr_gray": float(np.mean(gray)), "lively": share, "unsteady": float(np.mean(steady))}


def train_colorizer(
    clips: Sequence[Clip], photographs: Sequence[Scene], folder: Path, schedule: Schedule
) -> tuple[Colorizer, dict[str, float]]:
    """Train the decoder of G; its backbone is frozen.

    Args:
        clips: one shot each; every ninth is held out, and every ninth photograph.
        photographs: none is allowed, clips neither, but not both.

    Returns:
        The network, and the last held-out measurement.

    Raises:
        ConfigError: there is nothing to train on.
        WeightsError: the folder holds a checkpoint of another training.
    """
    kinds = [hold_out(kind) for kind in ([Scene(c.name, c.planes) for c in clips], list(photographs)) if kind]
    if not kinds:
        raise ConfigError("nothing to train on", hint="give --data CLIPS, --stills PHOTOGRAPHS or both")
    chosen, held = [k[0] for k in kinds], [scene for k in kinds for scene in k[1]]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(schedule.seed)
    net = Colorizer().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not annotated
    optimiser = torch.optim.AdamW(net.parameters(), lr=schedule.lr, betas=(0.9, 0.99), weight_decay=0.02)

    def draw(rng: np.random.Generator, count: int) -> Views:
        found = []
        for _ in range(count):
            kind = chosen[-1] if rng.random() < PHOTOGRAPH else chosen[0]
            found.append(draw_views(kind[int(rng.integers(len(kind)))], rng))
        luma, chroma, shift = (torch.stack(part) for part in zip(*found, strict=True))
        return Views(luma.transpose(0, 1).flatten(0, 1), chroma.transpose(0, 1).flatten(0, 1), shift)

    def loss_of(net: nn.Module, views: Views) -> Tensor:
        found = net(views.luma.to(device))
        return colour_loss(found, views.chroma.to(device)) + STEADY * steadiness(found, views.shift)

    log.info("colorizer: %s scenes, %d held out, %s", [len(kind) for kind in chosen], len(held), device)
    used = fingerprint_of([scene for kind in (*chosen, held) for scene in kind])
    measured = train(
        net, optimiser, schedule, folder, draw=draw, loss_of=loss_of, held_out=lambda: held_out_scores(net, held),
        about={"stage": "colorizer", "data": used},
    )  # fmt: skip
    return net.eval(), measured
