"""Stage one: F_w on frame pairs, L1 on what it warps (Deep Video Color Propagation section 3.4, Lambda_w)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.nets.sepconv import KernelNet
from dvcp.ops.codes import from_codes
from dvcp.ops.sepwarp import sepwarp, sepwarp_train
from dvcp.training.clips import Clip, fingerprint, hold_out
from dvcp.training.loop import Schedule, train

log = logging.getLogger(__name__)
#: chance of frame gaps 1, 2, 3, 4
GAPS = (0.5, 0.25, 0.15, 0.1)
#: weight of Cb and Cr beside Y' in the loss: chroma is what we are after, luma what says where things went
CHROMA_WEIGHT = 3.0


def augment_gray(gray: Tensor, rng: np.random.Generator, strength: float = 1.0) -> Tensor:
    """Exposure, gamma and grain on the networks' gray input only, ``[N, h, w]`` in [0, 1]: films flicker, colours do not follow."""
    gamma = float(np.exp(strength * rng.uniform(-0.35, 0.35)))
    gain = np.exp(strength * rng.uniform(-0.22, 0.14)) * np.exp(rng.normal(0, 0.02, len(gray)))
    out = gray.clamp(0, 1) ** gamma * torch.from_numpy(gain.astype(np.float32))[:, None, None]
    if rng.random() < 0.5:
        seed = int(rng.integers(2**31))
        out = out + torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)) * float(rng.uniform(0, 0.025))
    return out


def draw_pair(clip: Clip, size: int, rng: np.random.Generator, gap: int | None = None) -> Tensor:
    """Two frames of one crop, float32 ``[2, 3, size, size]``, in random temporal order, flipped and scaled by 0.5..1 at random."""
    step = min(int(rng.choice(len(GAPS), p=GAPS)) + 1 if gap is None else gap, len(clip) - 1)
    first = int(rng.integers(len(clip) - step))
    order = [first, first + step] if rng.random() < 0.5 else [first + step, first]
    height, width = clip.planes.shape[-2:]
    field = min(round(size / rng.uniform(0.5, 1.0)), height, width)
    y, x = int(rng.integers(height - field + 1)), int(rng.integers(width - field + 1))
    crop: NDArray[np.uint8] = np.stack([clip.planes[k, :, y : y + field, x : x + field] for k in order])
    pair = from_codes(torch.from_numpy(crop))
    if field != size:
        pair = F.interpolate(pair, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
    if rng.random() < 0.5:
        pair = pair.flip(-1)
    if rng.random() < 0.25:
        pair = pair.flip(-2)
    return pair


def _loss(warped: Tensor, target: Tensor) -> Tensor:
    difference = (warped - target).abs().mean((0, 2, 3))
    return difference[0] + CHROMA_WEIGHT * difference[1:].sum()


def held_out_psnr(net: KernelNet, clips: Sequence[Clip], size: int = 96, pairs: int = 48) -> dict[str, float]:
    """PSNR of warped Y' and chroma on fixed pairs, with plain copying beside it, so that a gain is a gain over doing nothing."""
    rng = np.random.default_rng(7)
    batch = torch.stack([draw_pair(clips[k % len(clips)], size, rng) for k in range(pairs)])
    device = next(net.parameters()).device
    sums = np.zeros(4)
    for part in batch.split(8):
        previous, current = part[:, 0].to(device), part[:, 1].to(device)
        warped = sepwarp(previous, *net(previous[:, :1], current[:, :1]))
        for k, planes in ((0, slice(0, 1)), (1, slice(1, 3))):
            sums[k] += float(((warped - current)[:, planes] ** 2).mean()) * len(part)
            sums[k + 2] += float(((previous - current)[:, planes] ** 2).mean()) * len(part)
    names = ("psnr_luma", "psnr_chroma", "copy_luma", "copy_chroma")
    return {n: float(-10 * np.log10(s / pairs + 1e-9)) for n, s in zip(names, sums, strict=True)}


def train_local(
    clips: Sequence[Clip], folder: Path, schedule: Schedule, *, size: int = 128, taps: int = 51
) -> tuple[KernelNet, dict[str, float]]:
    """Train F_w on pairs from ``clips``; ``size`` is the crop on the chroma grid (128 there is the paper's 256 of luma).

    Returns:
        The network and what the last held-out measurement said.
    """
    chosen, held = hold_out(clips)
    weights = np.array([len(c) for c in chosen], float)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(schedule.seed)
    net = KernelNet(taps, norm=True).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not annotated
    optimiser = torch.optim.Adamax(net.parameters(), lr=schedule.lr, betas=(0.9, 0.999))

    def draw(rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        pairs = torch.stack([draw_pair(chosen[k], size, rng) for k in rng.choice(len(chosen), count, p=weights / weights.sum())])
        return pairs, torch.stack([augment_gray(pair[:, 0], rng) for pair in pairs])

    def loss_of(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        pairs, gray = (t.to(device) for t in batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            vertical, horizontal = net(gray[:, :1], gray[:, 1:])
        return _loss(sepwarp_train(pairs[:, 0], vertical, horizontal), pairs[:, 1])

    log.info("F_w: %d clips, %d held out, %s", len(chosen), len(held), device)
    about = {"stage": "local", "size": size, "clips": fingerprint(f"{clip.name} {clip.planes.shape}" for clip in clips)}
    measured = train(
        net, optimiser, schedule, folder, draw=draw, loss_of=loss_of, held_out=lambda: held_out_psnr(net, held, min(96, size)), about=about
    )
    return net.fold(), measured
