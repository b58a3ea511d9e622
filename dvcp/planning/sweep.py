"""Tables and a plot of simulated clusters: how far the product scales, and what stops it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dvcp.planning.simulate import Result, Simulation
from dvcp.planning.world import Archive, Cluster, Pace, Store

#: segments in the stretch that is simulated, at least so many of each lane; half as many go before it counts
SEGMENTS, EACH = 1500, 6


@dataclass(frozen=True)
class Setup:
    """A way to run a cluster.

    Attributes:
        name: of the table's column.
        lanes_each: propagators a GPU.
        matchers_each: matchers a GPU.
        drivers: 0 = one for every ``gpus_a_driver`` GPUs, else so many.
        gpus_a_driver: likewise.
        batch: ledger records in one object.
        overlap, rereads: see :class:`dvcp.planning.world.Cluster`.
        store: what all of it lies in.
    """

    name: str
    lanes_each: float = 1.0
    matchers_each: float = 1.0
    drivers: int = 1
    gpus_a_driver: int = 0
    batch: int = 1
    overlap: bool = False
    rereads: int = 7
    store: Store = field(default_factory=Store)

    def lane_s(self, archive: Archive, pace: Pace) -> float:
        """About how long a lane takes for a frame."""
        put = 0.0 if self.overlap else archive.bytes_out / self.store.stream
        own = pace.encode + pace.decode + put + pace.segment / min(archive.segment_frames, archive.shot_median)
        return max(own, (pace.match + pace.propagate) * self.lanes_each)

    def reader_s(self, archive: Archive, pace: Pace) -> float:
        """How long a reader takes for a frame, before and after it is coloured."""
        return pace.prepare + pace.deliver + pace.verify + self.rereads * archive.bytes_out / self.store.stream

    def cluster(self, gpus: int, archive: Archive, pace: Pace, seed: int = 1) -> Cluster:
        """So many GPUs run this way, with as many open films as keep all lanes at work."""
        drivers = max(1, math.ceil(gpus / self.gpus_a_driver)) if self.gpus_a_driver else self.drivers
        lanes = max(drivers, round(gpus * self.lanes_each))
        # More than the mean, for films do not take turns evenly.
        mean = lanes * self.reader_s(archive, pace) / self.lane_s(archive, pace)
        reading = math.ceil(mean + 2 * math.sqrt(mean))
        return Cluster(
            gpus, lanes, max(1, round(gpus * self.matchers_each)), reading + max(3, 2 * drivers, lanes // 40), drivers=drivers,
            batch=self.batch, rereads=self.rereads, overlap=self.overlap, store=self.store, seed=seed,
        )  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One simulated cluster.

    Attributes:
        setup, cluster: what it was.
        result: what came of it.
        wall: seconds that the simulation took.
    """

    setup: Setup
    cluster: Cluster
    result: Result
    wall: float

    @property
    def wall_of(self) -> str:
        """The shared thing that is busiest, the GPUs left out."""
        return max((name for name in self.result.busy if name != "gpu"), key=lambda name: self.result.busy[name])


def steady(setup: Setup, gpus: int, archive: Archive, pace: Pace, seed: int = 1, segments: int = SEGMENTS) -> Cell:
    """A stretch in the middle of a long run, its open films some at each step of theirs; what comes before and after is left out."""
    began = time.perf_counter()
    cluster, lane, reading = setup.cluster(gpus, archive, pace, seed), setup.lane_s(archive, pace), setup.reader_s(archive, pace)
    waiting = max(1.0, cluster.films - cluster.lanes * reading / lane)
    segment = min(archive.segment_frames, archive.shot_median) * lane
    # A lane that has ended some segments has forgotten how it began.
    stretch = max(EACH, segments / cluster.lanes) * segment
    run = Simulation(
        replace(archive, films=10**9), cluster, pace, until=1.5 * stretch, warm=stretch / 2,
        midway=waiting * archive.frames * lane / cluster.lanes, chunk=archive.window * max(1, 40 // archive.window),
    )  # fmt: skip
    return Cell(setup, cluster, run.run(), time.perf_counter() - began)


def table(cells: Sequence[Cell]) -> str:
    """Markdown, a row a cluster."""
    head = ("GPUs", "set-up", "frames/s", "a GPU", "open films", "GPUs at work", "driver", "ledger", "store", "requests", "a million hours")
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for cell in cells:
        result, busy = cell.result, cell.result.busy
        years = 1e6 * 3600 * 24 / result.rate / 86400 / 365 if result.rate else math.inf
        shares = " | ".join(f"{busy[name]:.1%}" for name in ("gpu", "driver", "ledger", "store bandwidth", "store requests"))
        speed = f"{result.rate:,.0f} | {result.rate / cell.cluster.gpus:.0f} | {cell.cluster.films:,}"
        rows.append(f"| {cell.cluster.gpus:,} | {cell.setup.name} | {speed} | {shares} | {years:,.2f} years |")
    return "\n".join(rows)


def plot(cells: Sequence[Cell], path: Path, title: str) -> None:
    """GPUs at work against their number, a line a set-up. Needs Matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=90, layout="constrained")
    axes = figure.add_subplot()
    for name in dict.fromkeys(cell.setup.name for cell in cells):
        own = [cell for cell in cells if cell.setup.name == name]
        axes.plot([c.cluster.gpus for c in own], [100 * c.result.busy["gpu"] for c in own], marker="o", label=name)
    axes.set_xscale("log")
    axes.set_xticks(sorted({c.cluster.gpus for c in cells}), [f"{n:,}" for n in sorted({c.cluster.gpus for c in cells})])
    axes.set_ylim(0, 105)
    axes.set_xlabel("GPUs")
    axes.set_ylabel("GPUs at work, %")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path)
