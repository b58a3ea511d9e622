"""The exemplar method, both subnets together, end to end (Deep Exemplar-based Video Colorization, eq. 15).

Several frames are unrolled, not two, so that the network meets its own colours in the last frame. The correspondence subnet starts from
trained descriptors; whether it learns along is a setting. The discriminator learns in the same step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.colour import Matrix
from dvcp.nets.descriptor import DescriptorNet
from dvcp.nets.discriminator import VideoDiscriminator
from dvcp.nets.exemplar import ColourNet, sureness
from dvcp.nets.features import Backbone, Features, load_backbone
from dvcp.ops.codes import from_codes
from dvcp.ops.flow import sample
from dvcp.ops.lab import ycbcr_to_rgb_planes
from dvcp.ops.softmatch import Keys, Match, doubled, keys_of, soft_match
from dvcp.training import losses
from dvcp.training.clips import Clip, hold_out
from dvcp.training.loop import Schedule, train
from dvcp.training.scenes import HEIGHT, WIDTH, Draw, Scene, Stock, fingerprint_of, places

log = logging.getLogger(__name__)
#: the paper's weights; that of the perceptual loss is for relative distances
L1, PERCEPTUAL, CONTEXTUAL, SMOOTH, ADVERSARIAL, TEMPORAL = 2.0, 5.0, 0.2, 5.0, 0.2, 0.02
#: of the root of the mean square beside L1
RMS = 0.5
#: most noise on unit descriptors of the reference
NOISE = 0.3
#: of the network's own expectation of its error
DOUBT = 1.0
#: frames of a draw that are looked at by the backbone in colour, from the end; the discriminator sees them as a pair
_JUDGED = 2
#: of the footage, as training reads it: clips and photographs alike
_MATRIX: Matrix = "bt601"
#: frames of held-out clips that are measured, behind the reference
_HELD_FRAMES = 12


class Studio(nn.Module):
    """Everything that learns, from a draw to the loss."""

    def __init__(self, descriptor: DescriptorNet, backbone: Backbone, *, along: bool = False) -> None:
        super().__init__()
        self.descriptor, self.colour, self.discriminator = descriptor, ColourNet(), VideoDiscriminator()
        self.descriptor.requires_grad_(along)
        # In a list: frozen, and no part of the checkpoint.
        self._backbone = [backbone]

    def seen(self, pictures: Tensor) -> Features:
        """The frozen backbone on Y' or R'G'B' ``[B, 1 or 3, H, W]``."""
        return self._backbone[0](pictures)

    def keys(self, luma: Tensor, picture: Tensor | None = None, noise: torch.Generator | None = None) -> Keys:
        """Descriptors of one frame ``[1, 1, H, W]``; ``picture``, of a reference, on half its grid; ``noise`` spoils them at random."""
        with torch.no_grad():
            features = self.seen(luma)
        found = self.descriptor(features)
        planes = [found.coarse, found.fine]
        if noise is not None:
            strength = NOISE * float(torch.rand((), generator=noise))
            random = [torch.randn(d.shape, generator=noise).to(d) / d.shape[1] ** 0.5 for d in planes]
            planes = [F.normalize(d + strength * r, dim=1) for d, r in zip(planes, random, strict=True)]
        return keys_of(planes[0][0], planes[1][0], picture)

    def matched(self, luma: Tensor, reference: Keys) -> tuple[Tensor, Tensor]:
        """W ``[1, 3, h, w]`` and S ``[1, 4, h, w]`` of a frame on half its grid; the correspondence learns through W alone."""
        found: Match = soft_match(self.keys(luma), reference, self.descriptor.decides())
        height, width = luma.shape[-2] // 2, luma.shape[-1] // 2
        # Detached: one cue is a root whose slope is infinite where all candidates agree, and within 250 steps every weight was NaN.
        both = doubled(torch.cat([found.colours, found.cues.detach()])[None], height, width)
        return both[:, :3], both[:, 3:]

    def unroll(self, draw: Draw) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Colours ``[1, 2, h, w]``, expected errors, and the last frame's colours brought along, of every frame that was coloured.

        With a start, frame 0 is given and the others are coloured.
        """
        generator = torch.Generator().manual_seed(draw.noise)
        half = F.avg_pool2d(draw.reference, 2)[0]
        reference = self.keys(draw.reference[:, :1], half, generator if self.training else None)
        luma, truth = F.avg_pool2d(draw.luma, 2), F.avg_pool2d(draw.truth, 2)
        made, errors, brought = [], [], []
        last: Tensor | None = None
        for k in range(len(luma)):
            matched, cues = self.matched(draw.luma[k : k + 1], reference)
            if k == 0 and draw.start is not None:
                last = _begun(truth[:1], matched.detach(), draw.start, generator)
                continue
            here = luma[k : k + 1]
            carried, sure = matched, torch.zeros_like(here)
            if last is not None:
                moved = sample(last[0], draw.place[k - 1])[None]
                carried, sure = moved[:, :3], moved[:, 3:]
            chroma, error = self.colour(here, matched, cues, carried, sure)
            made.append(chroma)
            errors.append(error)
            brought.append(carried)
            # Detached: gradients along several frames grew a thousandfold within twenty steps. Each frame answers for its own colours.
            last = torch.cat([here, chroma, sureness(error)], 1).detach()
        return made, errors, brought

    def forward(self, draw: Draw) -> Tensor:
        """The loss of one draw, of both sides."""
        made, errors, brought = self.unroll(draw)
        first = len(draw.luma) - len(made)
        luma = F.avg_pool2d(draw.luma[first:], 2)
        truth = F.avg_pool2d(draw.truth[first:], 2)
        chroma = torch.cat(made)
        loss = SMOOTH * losses.smoothness(chroma * losses.CODES, truth * losses.CODES)
        for k in range(1, len(made)):
            steps = (made[k] * losses.CODES, brought[k][:, 1:] * losses.CODES, brought[k][:, :1] - luma[k : k + 1])
            loss = loss + TEMPORAL * losses.temporal(*steps) / (len(made) - 1)
        if draw.same:
            off = chroma - truth[:, 1:]
            # Beside the paper's L1 the root of the mean square: a few places quite wrong are worse than many a little.
            loss = loss + L1 * losses.CODES * (off.abs().mean() + RMS * (off.square().mean((1, 2, 3)) + 1e-7).sqrt().mean())
            expected = torch.cat(errors) - off.detach().abs().mean(1, keepdim=True)
            loss = loss + DOUBT * losses.CODES * expected.abs().mean()
        return loss + self._judged(draw, chroma, luma, truth)

    def _judged(self, draw: Draw, chroma: Tensor, luma: Tensor, truth: Tensor) -> Tensor:
        """Perceptual, contextual and adversarial losses of the last frames."""
        k = _JUDGED
        size = draw.luma.shape[-2:]
        full = F.interpolate(chroma[-k:], size=size, mode="bilinear", align_corners=False)
        clean = draw.truth[-k:]
        found = self.seen(ycbcr_to_rgb_planes(torch.cat([clean[:, :1], full], 1), _MATRIX))
        with torch.no_grad():
            real, reference = self.seen(ycbcr_to_rgb_planes(clean, _MATRIX)), self.seen(ycbcr_to_rgb_planes(draw.reference, _MATRIX))
        loss = PERCEPTUAL * losses.perceptual(found, real)
        for frame in range(k):
            one = Features(*(t[frame : frame + 1] for t in (found.deep, found.middle, found.shallow, found.fine)))
            loss = loss + CONTEXTUAL / k * losses.contextual_levels(one, reference)
        shown, true = (torch.cat([luma[-1:], c[-1:], luma[-2:-1], c[-2:-1]], 1) for c in (chroma, truth[:, 1:]))
        # For the colouring side the discriminator stands still.
        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(False)
        loss = loss + ADVERSARIAL * losses.relativistic(self.discriminator(shown), self.discriminator(true))
        for parameter in self.discriminator.parameters():
            parameter.requires_grad_(True)
        return loss + losses.relativistic(self.discriminator(true), self.discriminator(shown.detach()))


def _begun(truth: Tensor, matched: Tensor, doubt: float, generator: torch.Generator) -> Tensor:
    """A coloured frame to start from, and how sure it is: the true one, spoiled with what was matched in places when in ``doubt``."""
    height, width = truth.shape[-2:]
    mask = F.interpolate(torch.rand(1, 1, 4, 6, generator=generator), size=(height, width), mode="bicubic", align_corners=False)
    share = (doubt * mask.clamp(0, 1)).to(truth.device)
    chroma = truth[:, 1:] + share * (matched[:, 1:] - truth[:, 1:])
    return torch.cat([truth[:, :1], chroma, sureness((chroma - truth[:, 1:]).abs().mean(1, keepdim=True))], 1)


def held_out_psnr(studio: Studio, clips: Sequence[Scene]) -> dict[str, float]:
    """PSNR of chroma over frames behind a coloured first frame, a step of two frames at a time: of the result and of the match alone."""
    device = next(studio.parameters()).device
    scores: dict[str, list[float]] = {"psnr": [], "psnr_match": []}
    for clip in clips:
        planes = from_codes(torch.from_numpy(clip.planes[: 2 * _HELD_FRAMES : 2].copy()))
        planes = planes[..., : planes.shape[-2] // 16 * 16, : planes.shape[-1] // 16 * 16]
        draw = Draw(planes[:, :1], planes, places(planes[:, :1]), planes[:1], True, 0.0, 0).to(device)
        made, _, _ = studio.unroll(draw)
        truth, reference = F.avg_pool2d(draw.truth, 2), studio.keys(draw.reference[:, :1], F.avg_pool2d(draw.reference, 2)[0])
        for k, chroma in enumerate(made, 1):
            matched, _ = studio.matched(draw.luma[k : k + 1], reference)
            for name, guess in (("psnr", chroma), ("psnr_match", matched[:, 1:])):
                scores[name].append(float(-10 * torch.log10((guess - truth[k : k + 1, 1:]).square().mean() + 1e-7)))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def train_exemplar(
    clips: Sequence[Clip],
    photographs: Sequence[Scene],
    descriptor: DescriptorNet,
    folder: Path,
    schedule: Schedule,
    *,
    frames: int = 5,
    along: float = 0.0,
    start: str = "",
) -> tuple[Studio, dict[str, float]]:
    """Train both subnets and the discriminator.

    Args:
        clips: one shot each, on the chroma grid, which is worked on as if it were the film's; shorter ones than ``frames`` are left out.
        photographs: made to move; none is allowed.
        descriptor: trained descriptors to begin with.
        frames: unrolled at a time, 4 to 8 (the paper: 2).
        along: learning rate of the descriptors, relative; 0 leaves them as they are, the authors' code has 0.05.
        start: digest of the weights the descriptors are from.

    Returns:
        All networks, and the last held-out measurement.

    Raises:
        ConfigError: there is no clip, or none is long enough.
        WeightsError: the folder holds a checkpoint of another training.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = load_backbone().to(device)
    torch.manual_seed(schedule.seed)
    studio = Studio(descriptor, backbone, along=along > 0).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not annotated
    chosen, held = hold_out([Scene(clip.name, clip.planes) for clip in clips if len(clip) >= frames])
    stock = Stock(chosen, photographs, _vectors([*chosen, *photographs], studio, device))
    groups: list[dict[str, Any]] = [
        # Not the paper's 0.5 for the colour network: with one sample a step its noise drowned what was learned.
        {"params": list(studio.colour.parameters()), "betas": (0.9, 0.999)},
        {"params": list(studio.discriminator.parameters())},
    ]
    if along:
        groups.append({"params": list(studio.descriptor.parameters()), "share": along})
    optimiser = torch.optim.Adam(groups, lr=schedule.lr, betas=(0.5, 0.999), amsgrad=True)

    def draw(rng: np.random.Generator, count: int) -> list[Draw]:
        return [stock.draw(frames, rng) for _ in range(count)]

    def loss_of(net: nn.Module, draws: list[Draw]) -> Tensor:
        return torch.stack([net(one.to(device)) for one in draws]).mean()

    log.info("exemplar: %d clips, %d held out, %d photographs, %s", len(chosen), len(held), len(photographs), device)
    used = fingerprint_of([*chosen, *held, *photographs])
    about = {"stage": "exemplar", "frames": frames, "along": along, "data": used, "start": start, "backbone": backbone.weights_digest}
    measured = train(
        studio, optimiser, schedule, folder, draw=draw, loss_of=loss_of, held_out=lambda: held_out_psnr(studio, held), about=about
    )
    return studio.eval(), measured


@torch.inference_mode()
def _vectors(scenes: Sequence[Scene], studio: Studio, device: torch.device) -> NDArray[np.float32]:
    """What is in each scene: mean and deviation of the deepest features of its middle frame, centred over all, unit length."""
    found = []
    for scene in scenes:
        luma = from_codes(torch.from_numpy(scene.planes[len(scene.planes) // 2][None].copy()))[:, :1].to(device)
        deep = studio.seen(F.interpolate(luma, size=(HEIGHT, WIDTH), mode="area")).deep[0].flatten(1)
        found.append(torch.cat([deep.mean(1), deep.std(1)]).cpu().numpy())
    vectors = np.stack(found)
    vectors = vectors - vectors.mean(0)
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6), np.float32)
