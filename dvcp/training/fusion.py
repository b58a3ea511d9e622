"""Stage two: the fusion, on what the branches really propose over whole shots (Deep Video Color Propagation section 3.4).

It reads a dataset of ``dvcp precompute``, whose I^w comes from recursive roll-outs and not from one step off the truth: the fusion must
see the local branch's drift to learn when to leave it. A second dataset, precomputed with the fusion of the first pass in the loop, shows
it its own mistakes, because at inference it is fused frames that are fed back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dvcp.errors import StoreError
from dvcp.methods.carry import age_of
from dvcp.methods.dvcp import CUES
from dvcp.nets.choice import ChoiceNet
from dvcp.nets.fusion import FusionNet
from dvcp.ops.codes import from_codes
from dvcp.ops.softmatch import doubled
from dvcp.store.intermediates import Intermediates, Row
from dvcp.training.clips import fingerprint, hold_out
from dvcp.training.local import augment_gray
from dvcp.training.loop import Schedule, train

log = logging.getLogger(__name__)
#: chance that exposure, gamma and grain of the gray input change
AUGMENTED = 0.3
#: chance that a crop is shown in other colours
RECOLOURED = 0.7
#: weight of the root mean square beside the mean absolute error: what eyes see, and PSNR measures, is the large error
RMS_WEIGHT = 0.7
#: weight of how well the network foretells its own error
DOUBT_WEIGHT = 0.1
#: whole frames in a held-out measurement
HELD_FRAMES = 48

Batch = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Fusion:
    """How one kind of fusion network is trained.

    Attributes:
        make: the untrained network.
        part: its name in a weights file.
        apply: chroma ``[B, 2, h, w]`` of a batch, and the error it expects ``[B, 1, h, w]`` or None.
        colours: planes with colours it chooses from.
    """

    make: Callable[[], nn.Module]
    part: str
    apply: Callable[[nn.Module, Batch], tuple[Tensor, Tensor | None]]
    colours: tuple[str, ...]


def _choose(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
    proposals = [batch[name] for name in ("warped", "anchored", "matched")]
    chroma, error = net(batch["gray"], proposals, torch.cat([batch[name] for name in ("trust", "seen", "age", *CUES)], 1))
    return chroma, error


def _paper(net: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
    return net(batch["gray"], batch["warped"], batch["matched"]), None


#: by method
FUSIONS = {
    "dvcp": Fusion(ChoiceNet, "choice", _choose, ("warped", "anchored", "matched")),
    "paper": Fusion(FusionNet, "fusion", _paper, ("warped", "matched")),
}


def planes_of(row: Row) -> Batch:
    """All planes of a row on its working grid, float32 ``[1, C, h, w]``."""
    found = {name: from_codes(torch.from_numpy(plane.copy()))[None] for name, plane in row.planes.items()}
    found["age"] = torch.full_like(found["gray"], age_of(abs(row.frame - row.reference)))
    height, width = found["gray"].shape[-2:]
    # What was matched on quarters is kept at half the size.
    return {n: doubled(p, height, width) if p.shape[-2] < height else p for n, p in found.items()}


def draw_crop(row: Row, size: int, rng: np.random.Generator) -> Batch:
    """One random crop of a row, ``[1, C, size, size]``, flipped and its gray input changed at random."""
    planes = planes_of(row)
    height, width = planes["gray"].shape[-2:]
    side_y, side_x = min(size, height), min(size, width)
    y, x = int(rng.integers(height - side_y + 1)), int(rng.integers(width - side_x + 1))
    crop = {n: p[..., y : y + side_y, x : x + side_x] for n, p in planes.items()}
    if (side_y, side_x) != (size, size):
        crop = {n: F.pad(p, (0, size - side_x, 0, size - side_y), mode="replicate") for n, p in crop.items()}
    for axis, chance in ((-1, 0.5), (-2, 0.2)):
        if rng.random() < chance:
            crop = {n: p.flip(axis) for n, p in crop.items()}
    if rng.random() < RECOLOURED:
        crop = _recoloured(crop, rng)
    if rng.random() < AUGMENTED:
        # Relative to the proposals, whose luma is that of other frames: films flicker.
        crop["gray"] = augment_gray(crop["gray"][0], rng, strength=0.3)[None]
    return crop


def _recoloured(planes: Batch, rng: np.random.Generator) -> Batch:
    """The same picture in other colours: hue turned, perhaps mirrored, saturation scaled, in every plane alike.

    So the fusion learns which proposal to believe, and not which colours the training films have.
    """
    angle, gain = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 1.3)
    mirror = 1.0 if rng.random() < 0.5 else -1.0
    turn = gain * np.array([[mirror * np.cos(angle), -np.sin(angle)], [mirror * np.sin(angle), np.cos(angle)]])
    matrix = torch.from_numpy(turn.astype(np.float32))

    def turned(plane: Tensor) -> Tensor:
        # planes of one channel are luma or trust
        return plane if plane.shape[1] == 1 else torch.cat([plane[:, :-2], torch.einsum("ij,bjhw->bihw", matrix, plane[:, -2:])], 1)

    return {name: turned(plane) for name, plane in planes.items()}


def loss_of(fusion: Fusion, net: nn.Module, batch: Batch) -> Tensor:
    """100 x (L1 + RMS a crop) of chroma, and how far off the network's own expectation of its error is."""
    chroma, expected = fusion.apply(net, batch)
    error = chroma - batch["chroma"]
    loss = error.abs().mean() + RMS_WEIGHT * (error.square().mean((1, 2, 3)) + 1e-7).sqrt().mean()
    if expected is not None:
        loss = loss + DOUBT_WEIGHT * (expected - error.detach().abs().mean(1, keepdim=True)).abs().mean()
    return 100 * loss


def held_out_psnr(fusion: Fusion, net: nn.Module, rows: Sequence[Row]) -> dict[str, float]:
    """PSNR of chroma on whole frames, mean over frames: of the fusion, and of each proposal beside it."""
    device = next(net.parameters()).device
    scores: dict[str, list[float]] = {"psnr": [], **{f"psnr_{name}": [] for name in fusion.colours}}
    for row in rows:
        planes = {n: p.to(device) for n, p in planes_of(row).items()}
        guesses = {"psnr": fusion.apply(net, planes)[0], **{f"psnr_{name}": planes[name][:, 1:] for name in fusion.colours}}
        for name, guess in guesses.items():
            scores[name].append(float(-10 * torch.log10((guess - planes["chroma"]).square().mean() + 1e-7)))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def train_fusion(
    datasets: Sequence[Intermediates],
    method: str,
    folder: Path,
    schedule: Schedule,
    *,
    size: int = 128,
    start: nn.Module | None = None,
    about: Mapping[str, str] | None = None,
) -> tuple[nn.Module, dict[str, float]]:
    """Train the fusion of ``method`` ("dvcp" or "paper"), everything before it frozen.

    Args:
        datasets: read as one; all rows are equally likely.
        size: crop on the working grid.
        start: network to go on from, as after a first pass.
        about: what else tells this training from another, such as digests of weights.

    Returns:
        The network and the last held-out measurement.

    Raises:
        StoreError: a dataset is empty.
        WeightsError: the folder holds a checkpoint of another training.
    """
    fusion = FUSIONS[method]
    empty = next((data.url for data in datasets if not len(data)), None)
    if empty:
        raise StoreError("holds no rows to learn from", file=empty, hint="precompute colour films whose shots have several frames")
    chosen, kept = hold_out(sorted({video for data in datasets for video in data.videos}))
    parts = [data.only(set(chosen)) for data in datasets]
    ends = np.cumsum([len(part) for part in parts])
    held = [row for data in datasets for row in _spread(data.only(set(kept)), HELD_FRAMES // len(datasets))]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(schedule.seed)
    net = (start or fusion.make()).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload] # not annotated
    optimiser = torch.optim.Adam(net.parameters(), lr=schedule.lr)

    def draw(rng: np.random.Generator, count: int) -> Batch:
        crops = []
        for index in rng.integers(ends[-1], size=count):
            k = int(np.searchsorted(ends, index, side="right"))
            crops.append(draw_crop(parts[k][int(index - ends[k]) + len(parts[k])], size, rng))
        return {name: torch.cat([crop[name] for crop in crops]) for name in crops[0]}

    def loss(net: nn.Module, batch: Any) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            return loss_of(fusion, net, {name: plane.to(device) for name, plane in batch.items()})

    log.info("fusion of %s: %d rows of %d films, %d frames held out, %s", method, ends[-1], len(chosen), len(held), device)
    shards = fingerprint(shard.sha256 for data in datasets for shard in data.shards)
    told = {"stage": "fusion", "method": method, "size": size, "datasets": shards, **(about or {})}
    measured = train(
        net, optimiser, schedule, folder, draw=draw, loss_of=loss, held_out=lambda: held_out_psnr(fusion, net, held), about=told
    )
    return net.eval(), measured


def _spread(data: Intermediates, count: int) -> list[Row]:
    """Rows spread evenly over a dataset."""
    return [data[int(k)] for k in np.linspace(0, len(data) - 1, min(count, len(data))).round()]
