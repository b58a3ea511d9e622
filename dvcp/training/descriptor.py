"""The descriptor head of the global branch: trained so that the reference's colours, averaged by likeness, are the frame's.

The backbone stays frozen, so its features of some frames of every clip are computed once and kept in memory (2.4 MB a 480p frame); a step
is then two frames of one clip, whole, with as many wrong places to choose from as at inference.
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

from dvcp.colour import chroma_to_unit
from dvcp.errors import DvcpError
from dvcp.media.probe import probe_colour
from dvcp.media.reader import FrameReader
from dvcp.methods.grid import WorkingGrid
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.features import Backbone, Features, load_backbone
from dvcp.ops.softmatch import keys_of, soft_match, soft_weights
from dvcp.timing import Span
from dvcp.training.clips import fingerprint, hold_out
from dvcp.training.local import augment_gray
from dvcp.training.loop import Schedule, train

log = logging.getLogger(__name__)
#: cells of a frame that one step matches
_CELLS = 1200
#: how far apart, in kept frames, the pairs of half of all draws lie at most
_NEAR = 4
#: weight of the coarse match alone beside the fine one, and of luma beside chroma
_COARSE, _LUMA = 0.5, 0.05


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame as the head meets it; tensors on the CPU, float16.

    Attributes:
        clean, changed: features ``[1, C, ...]`` of the frame's Y' as it is, and with exposure, gamma and grain changed.
        picture: Y', Cb, Cr ``[3, 4 r, 4 c]`` on the padded working grid.
    """

    clean: Features
    changed: Features
    picture: Tensor


Watched = tuple[Seen, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """A reference and a frame to be matched.

    Attributes:
        seen: features of both, ``[2, C, ...]``.
        pictures: of both, as in :class:`Seen`.
        start: where among the cells the evenly spaced ones that are matched begin, in [0, 1).
    """

    seen: Features
    pictures: tuple[Tensor, Tensor]
    start: float


@torch.inference_mode()
def watch(path: Path, backbone: Backbone, frames: int, max_height: int, device: torch.device, seed: int = 0) -> Watched:
    """Features of ``frames`` frames spread evenly over a clip of one shot. Raises MediaError."""
    info, rng = probe_colour(str(path)), np.random.default_rng(seed)
    grid = WorkingGrid.of(info.height, info.width, info.colour, max_height)
    seen = []
    with FrameReader(info) as reader:
        for number in np.unique(np.linspace(0, len(info.frames) - 1, frames).round().astype(int)).tolist():
            luma, chroma = reader.planes(Span(number, number + 1))
            half, padded = grid.luma(luma, device)
            colours = grid.chroma(chroma_to_unit(chroma[0], info.colour), device)
            room = (0, padded.shape[-1] // 2 - grid.width, 0, padded.shape[-2] // 2 - grid.height)
            picture = F.pad(torch.cat([half[0], colours])[None], room, mode="replicate")[0]
            changed = augment_gray(padded[0].cpu(), rng)[None].to(device)
            seen.append(Seen(_kept(backbone(padded)), _kept(backbone(changed)), picture.half().cpu()))
    return tuple(seen)


def _kept(seen: Features) -> Features:
    # The fine features are the biggest and not the head's business.
    deep, middle, shallow = (t.half().cpu() for t in (seen.deep, seen.middle, seen.shallow))
    return Features(deep, middle, shallow, shallow[:, :0])


def draw_pair(clips: Sequence[Watched], rng: np.random.Generator) -> Pair:
    """Two frames of one clip, near each other in half of all draws."""
    frames = clips[int(rng.integers(len(clips)))]
    first, second = rng.choice(len(frames), 2, replace=False)
    if rng.random() < 0.5:
        near = [k for k in range(max(0, first - _NEAR), min(len(frames), first + _NEAR + 1)) if k != first]
        second = rng.choice(near)
    reference, frame = frames[first], frames[second]
    shown = frame.changed if rng.random() < 0.5 else frame.clean
    both = (torch.cat([getattr(f, name) for f in (reference.clean, shown)]) for name in ("deep", "middle", "shallow", "fine"))
    return Pair(Features(*both), (reference.picture, frame.picture), float(rng.random()))


def _on(seen: Features, device: torch.device) -> Features:
    return Features(*(t.to(device).float() for t in (seen.deep, seen.middle, seen.shallow, seen.fine)))


def match_loss(net: nn.Module, pair: Pair, device: torch.device) -> Tensor:
    """100 x (L1 + RMS) of matched chroma, at both levels, on some of the cells."""
    reference, frame = (p.to(device).float() for p in pair.pictures)
    found = net(_on(pair.seen, device))
    keys = keys_of(found.coarse[0], found.fine[0], reference)
    whole = keys_of(found.coarse[1], found.fine[1], frame)
    assert keys.colours is not None and whole.colours is not None
    stride = max(1, len(whole.coarse) // _CELLS)
    pick = slice(int(pair.start * stride), None, stride)
    likeness, truth = whole.coarse[pick] @ keys.coarse.t(), whole.colours[pick]
    _, _, cell, weight = soft_weights(likeness, whole.fine[pick], keys, found.sharpness)
    fine = torch.bmm(weight, keys.colours[cell].flatten(1, 2)) - truth
    coarse = torch.softmax(likeness * found.sharpness[0], 1) @ keys.colours.mean(1) - truth.mean(1)
    loss = torch.zeros((), device=device)
    for error, share in ((fine, 1.0), (coarse, _COARSE)):
        chroma = error[..., 1:]
        loss = loss + share * (chroma.abs().mean() + (chroma.square().mean() + 1e-9).sqrt())
    return 100 * (loss + _LUMA * fine[..., 0].abs().mean())


def held_out_psnr(net: DescriptorNet, clips: Sequence[Watched]) -> dict[str, float]:
    """PSNR of matched chroma on whole frames from the first one of their clip, with plain copying beside it."""
    device = next(net.parameters()).device
    scores: dict[str, list[float]] = {"psnr_match": [], "psnr_copy": []}
    for frames in clips:
        for k in sorted({len(frames) // 3, len(frames) - 1} - {0}):
            first, last = (net(_on(frames[n].clean, device)) for n in (0, k))
            pictures = [F.avg_pool2d(frames[n].picture[None].to(device).float(), 2)[0] for n in (0, k)]
            keys = keys_of(first.coarse[0], first.fine[0], frames[0].picture.to(device).float())
            found = soft_match(keys_of(last.coarse[0], last.fine[0]), keys, last.sharpness).colours
            for name, guess in (("psnr_match", found), ("psnr_copy", pictures[0])):
                scores[name].append(float(-10 * torch.log10((guess - pictures[1])[1:].square().mean() + 1e-7)))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def train_descriptor(
    paths: Sequence[Path],
    folder: Path,
    schedule: Schedule,
    *,
    frames: int = 16,
    max_height: int = 480,
    backbone: str = "efficientnet-lite0",
) -> tuple[DescriptorNet, dict[str, float]]:
    """Train the head; the backbone stays as it is.

    Args:
        paths: clips of one shot each; one that cannot be read is logged and left out.
        frames: of each clip, kept in memory.

    Returns:
        The network, batch norm folded, and the last held-out measurement.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    frozen, clips, used = load_backbone(backbone).to(device), list[Watched](), list[str]()
    for number, path in enumerate(paths):
        try:
            clips.append(watch(path, frozen, frames, max_height, device, seed=number))
            used.append(f"{path.name} {path.stat().st_size}")
        except DvcpError as error:
            log.warning("left out: %s", error)
        if (number + 1) % 10 == 0:
            log.info("features of %d of %d clips", number + 1, len(paths))
    chosen, held = hold_out([clip for clip in clips if len(clip) > 1])
    torch.manual_seed(schedule.seed)
    net = DescriptorNet(norm=True).to(device)
    optimiser = torch.optim.Adam(net.parameters(), lr=schedule.lr)

    def draw(rng: np.random.Generator, count: int) -> list[Pair]:
        return [draw_pair(chosen, rng) for _ in range(count)]

    def loss_of(net: nn.Module, pairs: list[Pair]) -> Tensor:
        return torch.stack([match_loss(net, pair, device) for pair in pairs]).mean()

    log.info("descriptors: %d clips, %d held out, %s", len(chosen), len(held), device)
    about = {"stage": "descriptor", "frames": frames, "height": max_height, "clips": fingerprint(used), "backbone": frozen.weights_digest}
    measured = train(net, optimiser, schedule, folder, draw=draw, loss_of=loss_of, held_out=lambda: held_out_psnr(net, held), about=about)
    return net.fold(), measured
