"""Stage two: F_f on what the two branches really propose over whole shots (Deep Video Color Propagation section 3.4).

I^w comes from recursive roll-outs, not from one step off the truth: the fusion must see the local branch's drift to learn when to leave it.
A second pass rolls out with F_f in the loop, because at inference it is fused frames that are fed back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dvcp.colour import ColourSpec
from dvcp.methods.base import Reference, Window
from dvcp.methods.dvcp import DeepPropagation, Settings
from dvcp.nets.fusion import FusionNet
from dvcp.nets.sepconv import KernelNet
from dvcp.ops.sepwarp import sepwarp
from dvcp.training.clips import Clip, hold_out
from dvcp.training.loop import Schedule, train

log = logging.getLogger(__name__)
_COLOUR = ColourSpec("bt601", full_range=True)


@dataclass(frozen=True, eq=False)
class Rollout:
    """One shot propagated from one of its frames, on the working grid; planes are Y', Cb, Cr with chroma centred at 0.

    Attributes:
        local: float16 ``[T, 3, h, w]``, I^w.
        matched: float16 ``[T, 3, h, w]``, I^s.
        truth: float16 ``[T, 3, h, w]``.
    """

    local: NDArray[np.float16]
    matched: NDArray[np.float16]
    truth: NDArray[np.float16]


def roll_out(
    clip: Clip, matcher: DeepPropagation, local: KernelNet, fusion: FusionNet | None, frames: int, rng: np.random.Generator
) -> Rollout:
    """Propagate ``clip`` from a random frame in a random direction, as the method would, for up to ``frames`` frames.

    The clip's own planes serve as the film, so the working grid is half of them: four times cheaper, and more scales are seen.
    With ``fusion`` its output is fed back, as at inference; without it I^w alone.
    """
    count = min(frames, len(clip) - 1)
    first = int(rng.integers(len(clip) - count))
    order = np.arange(first, first + count + 1)
    if rng.random() < 0.5:
        order = order[::-1]
    planes = clip.planes[order].astype(np.float32)
    height, width = (n - n % 2 for n in planes.shape[-2:])
    planes = planes[..., :height, :width]
    truth = F.avg_pool2d(torch.from_numpy(planes), 2) / 255
    truth[:, 1:] -= 128 / 255
    luma = planes[:, 0].astype(np.uint8)
    reference = Reference(luma[0], truth[0, 1:].numpy(), True, "")
    anchor = matcher.anchor(reference, _COLOUR)
    matched = matcher.match(Window(tuple(range(count)), luma[1:], _COLOUR), anchor).planes
    assert matched is not None
    last, done = truth[:1], []
    with torch.inference_mode():
        for k in range(1, count + 1):
            warped = sepwarp(last, *local(last[:, :1], truth[k : k + 1, :1]))
            done.append(warped)
            chroma = warped[:, 1:]
            if fusion is not None:
                chroma = fusion(truth[k : k + 1, :1], warped, torch.from_numpy(matched[k - 1 : k]).float())
            last = torch.cat([truth[k : k + 1, :1], chroma.clamp(-0.5, 0.5)], 1)
    return Rollout(torch.cat(done).half().numpy(), matched, truth[1:].half().numpy())


def _draw(rollouts: Sequence[Rollout], size: int, rng: np.random.Generator) -> Tensor:
    """One crop of one frame, float32 ``[9, size, size]``: I^w, I^s, truth."""
    roll = rollouts[int(rng.integers(len(rollouts)))]
    k = int(rng.integers(len(roll.truth)))
    height, width = roll.truth.shape[-2:]
    side = min(size, height, width)
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    crop = np.concatenate([p[k, :, y : y + side, x : x + side] for p in (roll.local, roll.matched, roll.truth)]).astype(np.float32)
    out = torch.from_numpy(crop)
    if side < size:
        out = F.pad(out[None], (0, size - side, 0, size - side), mode="replicate")[0]
    return out.flip(-1) if rng.random() < 0.5 else out


def _apply(net: FusionNet, batch: Tensor) -> Tensor:
    return net(batch[:, 6:7], batch[:, :3], batch[:, 3:6])  # type: ignore[no-any-return]


def held_out_chroma(net: FusionNet, rollouts: Sequence[Rollout]) -> dict[str, float]:
    """PSNR of chroma on held-out roll-outs: fused, and each branch alone beside it."""
    sums: dict[str, list[float]] = {"psnr_fused": [], "psnr_local": [], "psnr_matched": []}
    for roll in rollouts:
        for k in range(0, len(roll.truth), 5):
            local, matched, truth = (torch.from_numpy(p[k : k + 1]).float() for p in (roll.local, roll.matched, roll.truth))
            for name, guess in (("fused", net(truth[:, :1], local, matched)), ("local", local[:, 1:]), ("matched", matched[:, 1:])):
                sums[f"psnr_{name}"].append(float(-10 * torch.log10(((guess - truth[:, 1:]) ** 2).mean() + 1e-9)))
    return {name: float(np.mean(values)) for name, values in sums.items()}


def train_fusion(
    clips: Sequence[Clip],
    local: KernelNet,
    folder: Path,
    schedule: Schedule,
    *,
    size: int = 96,
    frames: int = 50,
    passes: int = 2,
    rollouts: int = 0,
) -> tuple[FusionNet, dict[str, float]]:
    """Train F_f with F_w frozen.

    Args:
        size: crop on the working grid.
        frames: longest roll-out.
        passes: 1 = I^w rolled out alone; 2 = then again with F_f in the loop, half the schedule each.
        rollouts: shots rolled out in each pass, drawn at random (0 = every clip once); a quarter as many are held out.

    Returns:
        The network and the last held-out measurement.
    """
    chosen, held = hold_out(clips)
    if not held:
        chosen = held = list(clips)
    matcher = DeepPropagation(Settings(branches="global", device="cpu"))
    torch.manual_seed(schedule.seed)
    net = FusionNet()
    measured: dict[str, float] = {}
    for turn in range(passes):
        rng = np.random.default_rng((schedule.seed, turn))
        fusion = net.eval() if turn else None
        picks = rng.permutation(len(chosen))[: rollouts or None]
        rolls = [roll_out(chosen[k], matcher, local, fusion, frames, rng) for k in picks]
        held_rolls = [roll_out(c, matcher, local, fusion, frames, rng) for c in held[: max(1, len(rolls) // 4)]]
        log.info("F_f pass %d: %d roll-outs, %d held out", turn + 1, len(rolls), len(held_rolls))
        optimiser = torch.optim.Adam(net.parameters(), lr=schedule.lr)

        def loss_of(rng: np.random.Generator, rolls: list[Rollout] = rolls) -> Tensor:
            batch = torch.stack([_draw(rolls, size, rng) for _ in range(schedule.batch)])
            return (_apply(net, batch) - batch[:, 7:]).abs().mean() * 100

        def measure(held_rolls: list[Rollout] = held_rolls) -> dict[str, float]:
            return held_out_chroma(net, held_rolls)

        share = replace(schedule, steps=schedule.steps // passes, minutes=schedule.minutes / passes)
        measured = train(net.train(), optimiser, share, folder / f"pass{turn + 1}", loss_of, measure)
    return net.eval(), measured
