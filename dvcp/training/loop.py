"""The training loop: schedule, checkpoints that resume, a CSV and a picture of the curves. It knows nothing of what is learned.

Inside a torch.distributed group (see :mod:`.spread`) every process takes its share of each batch, and the first one writes.
"""

from __future__ import annotations

import csv
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from dvcp.errors import WeightsError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Attributes:
        steps: optimiser steps at most.
        minutes: wall-clock minutes at most over all resumes (0 = no limit); the learning rate follows whichever runs out first.
        batch: samples a step, over all devices together.
        lr: learning rate at the start; falls to 3 % of it along a half cosine.
        seed: of every random choice.
        report_every: steps between lines in the curve, held-out measurements and checkpoints.
        loaders: processes that draw batches ahead of the network, for each device; 0 = drawn between steps.
    """

    steps: int
    minutes: float
    batch: int
    lr: float
    seed: int = 1
    report_every: int = 200
    loaders: int = 0

    def rate(self, progress: float) -> float:
        """Learning rate at ``progress`` in [0, 1]."""
        warm = min(1.0, progress / 0.01 + 0.05)
        return self.lr * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


Draw = Callable[[np.random.Generator, int], Any]


class _Draws(Dataset[Any]):
    """Batch number k, whenever and in whichever process it is asked for."""

    def __init__(self, draw: Draw, schedule: Schedule) -> None:
        self._draw, self._seed = draw, schedule.seed
        self._rank, world = place()
        self._count = schedule.batch // world

    def __getitem__(self, step: int) -> Any:
        # The generator is a function of the step, so a resumed run draws what an undisturbed one would have drawn.
        return self._draw(np.random.default_rng((self._seed, step, self._rank)), self._count)


def place() -> tuple[int, int]:
    """(number of this process, number of processes) that train together."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def train(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: Schedule,
    folder: Path,
    *,
    draw: Draw,
    loss_of: Callable[[nn.Module, Any], Tensor],
    held_out: Callable[[], dict[str, float]],
    about: Mapping[str, Any],
) -> dict[str, float]:
    """Run until the schedule ends, resuming from ``folder/checkpoint.pt`` when it is there.

    Args:
        draw: a batch of so many samples, drawn with the given generator.
        loss_of: loss of the network (perhaps wrapped for several devices) on a batch.
        held_out: measures the network on data not trained on; every value goes into the curve.
        about: what is learned from what, plain values: a checkpoint of something else is refused.

    Returns:
        The last held-out measurement, with ``steps`` and ``minutes``.

    Raises:
        WeightsError: the folder holds a checkpoint of another training, or the loss ran off.
    """
    rank, world = place()
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, told = folder / "checkpoint.pt", _about(about, schedule)
    step, spent = 0, 0.0
    if checkpoint.exists():
        step, spent = _resume(checkpoint, net, optimiser, told)
        log.info("resumed at step %d", step)
    began, losses, measured = time.monotonic() - spent, [], {}

    def progress() -> float:
        clock = (time.monotonic() - began) / 60 / schedule.minutes if schedule.minutes else 0.0
        mark = torch.tensor(max(step / schedule.steps, clock), device=next(net.parameters()).device)
        if world > 1:
            # One clock for all: processes that disagreed on the last step would wait for each other for ever.
            distributed.broadcast(mark, 0)
        return float(mark)

    now, wrapped = progress(), DistributedDataParallel(net) if world > 1 else net
    steps = range(step, schedule.steps) if now < 1 else ()
    for batch in DataLoader(_Draws(draw, schedule), batch_size=None, sampler=steps, num_workers=schedule.loaders if steps else 0):
        for group in optimiser.param_groups:
            # "share": of a network that learns more slowly than the rest
            group["lr"] = schedule.rate(now) * group.get("share", 1.0)
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(wrapped, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            hint = f"lower --rate; {checkpoint} is from before" if checkpoint.exists() else "lower --rate"
            raise WeightsError(f"the loss of step {step + 1} is not a number", file=str(folder), hint=hint)
        step += 1
        now = progress()
        if now >= 1 or step % schedule.report_every == 0:
            if rank == 0:
                measured = _measure(net, held_out)
                row = {"step": step, "minutes": (time.monotonic() - began) / 60, "loss": float(np.mean(losses)), **measured}
                _append(folder / "curve.csv", row)
                _save(checkpoint, net, optimiser, told, step, time.monotonic() - began)
                log.info("  ".join(f"{k} {v:.5g}" for k, v in row.items()))
            losses = []
        if now >= 1:
            break
    if rank == 0:
        plot_curve(folder / "curve.csv", folder / "curve.png")
    # A run resumed after its end has measured nothing yet.
    return {"steps": float(step), "minutes": (time.monotonic() - began) / 60, **(measured or _measure(net, held_out))}


def _measure(net: nn.Module, held_out: Callable[[], dict[str, float]]) -> dict[str, float]:
    net.eval()
    with torch.inference_mode():
        measured = held_out()
    net.train()
    return measured


def _about(about: Mapping[str, Any], schedule: Schedule) -> dict[str, str]:
    # As text: what is compared must survive its file, and lists and tuples are the same here.
    return {name: str(value) for name, value in {**about, "seed": schedule.seed, "batch": schedule.batch}.items()}


def _resume(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, about: Mapping[str, str]) -> tuple[int, float]:
    saved = torch.load(path, weights_only=True, map_location="cpu")
    found = saved.get("about", {})
    other = sorted(name for name in found.keys() | about.keys() if found.get(name) != about.get(name))
    if other:
        raise WeightsError(f"checkpoint of another {', '.join(other)}", file=str(path), hint="choose another --out or remove it")
    net.load_state_dict(saved["net"])
    optimiser.load_state_dict(saved["optimiser"])
    return int(saved["step"]), float(saved["seconds"])


def _save(path: Path, net: nn.Module, optimiser: torch.optim.Optimizer, about: Mapping[str, str], step: int, seconds: float) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "about": dict(about), "step": step, "seconds": seconds}
    torch.save(state, part)
    part.replace(path)


def _append(path: Path, row: dict[str, float]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as out:
        writer = csv.DictWriter(out, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def plot_curve(table: Path, picture: Path) -> None:
    """Draw every column of ``curve.csv`` against the step. Needs matplotlib (extra ``train``); without it only the CSV is kept."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("no curve.png: matplotlib is not installed (pip install 'dvcp[train]')")
        return
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        return
    names = [n for n in rows[0] if n not in ("step", "minutes")]
    figure = Figure(figsize=(5 * len(names), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axes.plot([float(r["step"]) for r in rows], [float(r[name]) for r in rows])
        axes.set(title=name, xlabel="step")
    figure.savefig(picture, dpi=100)
