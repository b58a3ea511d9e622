"""From items to tables: pure functions, so that a table can be made again from the items alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dvcp.evaluation.item import PER_FRAME, PROTOCOL, Item
from dvcp.evaluation.painted import Painted
from dvcp.evaluation.text import aged_note, complete, csv_text, footer, known, mean_known, row

#: the distances of the published table (Deep Video Color Propagation, figure 8)
HORIZONS = (10, 20, 30, 40, 50)
#: dB given to a frame equal to the truth, whose PSNR is infinite and would make every mean infinite
CEILING = 100.0


@dataclass(frozen=True)
class Scores:
    """Means of one method, over one clip or over several.

    Attributes:
        psnr_lab: dB over the first N frames measured, by N.
        psnr_rgb: dB.
        delta_e2000: CIEDE2000.
        l2_ab: distance in the a*b* plane.
        cdc, cdc_truth: colour distribution consistency; None where no clip has two frames.
        colourfulness, colourfulness_truth: Hasler and Suesstrunk.
        warp_error, flicker and the rest: see :class:`dvcp.evaluation.item.Item`.
        drift: slope of PSNR-Lab, dB per 100 frames; None where every clip is too short for one.
    """

    psnr_lab: Mapping[int, float]
    psnr_rgb: float
    delta_e2000: float
    l2_ab: float
    cdc: float | None
    cdc_truth: float | None
    colourfulness: float
    colourfulness_truth: float
    warp_error: float | None
    warp_error_truth: float | None
    warp_error_soft: float | None
    warp_error_soft_truth: float | None
    flicker: float | None
    flicker_truth: float | None
    ssim: float | None
    drift: float | None


@dataclass(frozen=True)
class Summary:
    """One evaluation.

    Attributes:
        frames: frames to measure that were asked for.
        items: every measurement, clip by clip.
        failed: one line for each clip, or clip and method, that could not be measured.
        painted: frames that were given in colour.
        aged: seed of the wear the luma was given; None for none.
    """

    frames: int
    items: tuple[Item, ...]
    failed: list[str]
    painted: Painted = Painted.FIRST
    aged: int | None = None

    @property
    def horizons(self) -> tuple[int, ...]:
        """Values of N in the tables."""
        return (*(n for n in HORIZONS if n < self.frames), self.frames)

    @property
    def methods(self) -> dict[str, str]:
        """Method name -> digest, in the order measured."""
        return {item.method: item.method_digest for item in self.items}

    @property
    def weights(self) -> dict[str, str]:
        """Method name -> sha256 of its weights file, for the methods that have one."""
        return {item.method: item.weights for item in self.items if item.weights}

    @property
    def clips(self) -> list[str]:
        """Clips measured with every method that was measured at all: means go over these alone, so that methods compare."""
        return complete([(item.clip, item.method) for item in self.items])

    @property
    def dataset(self) -> str:
        """sha256 (hex) over the sorted digests of the clips the means go over."""
        clips = set(self.clips)
        digests = sorted({item.clip: item.clip_digest for item in self.items if item.clip in clips}.values())
        return hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def of_method(self, method: str) -> list[Item]:
        """Its items on :attr:`clips`."""
        clips = set(self.clips)
        return [item for item in self.items if item.method == method and item.clip in clips]

    def means(self) -> dict[str, Scores]:
        """Mean over clips of each clip's means, by method; empty when no clip was measured with every method."""
        return {method: mean_scores(self.of_method(method), self.horizons) for method in self.methods if self.of_method(method)}

    def notes(self) -> list[str]:
        """How the numbers came about, one line each."""
        after = " after the reference" if self.painted.lead else ""
        counted = "a reference frame itself is never counted; its luma and that of every frame is the film's own"
        lines = [
            f"PSNR-Lab@N: mean over the first N frames{after}, then over clips; peak 255, L* x 255/100, a* b* as they are",
            counted,
            f"a frame equal to the truth counts as {CEILING:g} dB",
            *aged_note(self.aged),
        ]
        lengths = {item.clip: len(item) for item in self.items if item.clip in set(self.clips)}
        for n in self.horizons:
            if short := sum(length < n for length in lengths.values()):
                lines.append(f"N={n}: {short} of {len(lengths)} clips are shorter and count with the frames they have")
        if left_out := len({item.clip for item in self.items}) - len(lengths):
            lines.append(f"{left_out} clips lack a method and are left out of the means")
        return lines

    @property
    def markdown(self) -> str:
        """A compact table, methods by N."""
        head = ["method", *(f"PSNR-Lab@{n}" for n in self.horizons), "dB/100 frames", "PSNR-RGB", "SSIM", "dE2000", "L2 ab"]
        head += ["CDC", "warp error", "soft", "flicker", "colourfulness"]
        means = self.means()
        rows = [
            [
                method,
                *(f"{v:.2f}" for v in s.psnr_lab.values()),
                known(s.drift, 2),
                f"{s.psnr_rgb:.2f}",
                known(s.ssim, 4),
                *(f"{v:.2f}" for v in (s.delta_e2000, s.l2_ab)),
                *(known(v, 6) for v in (s.cdc, s.warp_error, s.warp_error_soft)),
                known(s.flicker, 3),
                f"{s.colourfulness:.2f}",
            ]
            for method, s in means.items()
        ]
        if means:
            t = next(iter(means.values()))
            own = [known(v, 6) for v in (t.cdc_truth, t.warp_error_truth, t.warp_error_soft_truth)]
            own += [known(t.flicker_truth, 3), f"{t.colourfulness_truth:.2f}"]
            rows.append(["*truth*", *["-"] * (len(head) - 1 - len(own)), *own])
        lines = [row(head), row(["---", *["---:"] * (len(head) - 1)]), *map(row, rows), ""]
        sizes = sorted({f"{item.width}x{item.height}" for item in self.items})
        lines += [f"- clips: {len(self.clips)} ({', '.join(sizes)}), reference: {self.painted.policy}, dataset {self.dataset[:16]}"]
        lines += footer(self.methods, self.weights, self.notes(), self.failed)
        return "\n".join(lines) + "\n"

    def to_json(self) -> dict[str, Any]:
        """Everything but the per-frame scores, as JSON values."""
        return {
            "protocol": PROTOCOL,
            "dataset": self.dataset,
            "reference": self.painted.policy,
            "frames": self.frames,
            "aged": self.aged,
            "methods": self.methods,
            "weights": self.weights,
            "mean": {method: asdict(scores) for method, scores in self.means().items()},
            "pooled_psnr_lab": {method: pooled(self.of_method(method), self.horizons) for method in self.means()},
            "clips": [
                {"clip": i.clip, "digest": i.clip_digest, "method": i.method, "width": i.width, "height": i.height, "frames": len(i)}
                | {"seconds": i.seconds}
                | asdict(mean_scores([i], self.horizons))
                for i in self.items
            ],
            "notes": self.notes(),
            "failed": self.failed,
        }


def mean_scores(items: Sequence[Item], horizons: Iterable[int]) -> Scores:
    """Each clip's means, averaged over the clips (one or more)."""

    def over_clips(name: str, first: int | None = None) -> float:
        return sum(item.mean(name, first) for item in items) / len(items)

    return Scores(
        psnr_lab={n: over_clips("psnr_lab", n) for n in horizons},
        psnr_rgb=over_clips("psnr_rgb"),
        delta_e2000=over_clips("delta_e2000"),
        l2_ab=over_clips("l2_ab"),
        cdc=mean_known(item.cdc for item in items),
        cdc_truth=mean_known(item.cdc_truth for item in items),
        colourfulness=over_clips("colourfulness"),
        colourfulness_truth=over_clips("colourfulness_truth"),
        warp_error=mean_known(item.warp_error for item in items),
        warp_error_truth=mean_known(item.warp_error_truth for item in items),
        warp_error_soft=mean_known(item.warp_error_soft for item in items),
        warp_error_soft_truth=mean_known(item.warp_error_soft_truth for item in items),
        flicker=mean_known(item.flicker for item in items),
        flicker_truth=mean_known(item.flicker_truth for item in items),
        # not over some of the clips: those without were measured where scikit-image was not installed
        ssim=None if any(item.ssim is None for item in items) else mean_known(item.ssim for item in items),
        drift=mean_known(item.drift for item in items),
    )


def pooled(items: Sequence[Item], horizons: Iterable[int]) -> dict[int, float]:
    """PSNR-Lab by N, all frames of all clips weighing the same."""
    values = {n: [v for item in items for v in item.per_frame["psnr_lab"][:n]] for n in horizons}
    return {n: sum(v) / len(v) for n, v in values.items()}


def curve(items: Sequence[Item], name: str = "psnr_lab") -> list[float]:
    """A per-frame score by number of the frame measured: mean over the clips that have that frame."""
    longest = max((len(item) for item in items), default=0)
    at = [[item.per_frame[name][k] for item in items if k < len(item)] for k in range(longest)]
    return [sum(values) / len(values) for values in at]


def table_csv(summary: Summary) -> str:
    """A line for each clip and method, then one of each method's means."""
    rows: list[list[Any]] = []
    lines = [(i.method, i.clip, len(i), mean_scores([i], summary.horizons)) for i in summary.items]
    lines += [(method, "mean", sum(map(len, summary.of_method(method))), scores) for method, scores in summary.means().items()]
    for method, clip, frames, scores in lines:
        fields = asdict(scores)
        rows.append([method, clip, frames, *fields.pop("psnr_lab").values(), *fields.values()])
    names = [name for name in Scores.__dataclass_fields__ if name != "psnr_lab"]
    return csv_text(["method", "clip", "frames", *(f"psnr_lab@{n}" for n in summary.horizons), *names], rows)


def per_frame_csv(summary: Summary) -> str:
    """A line for each frame of each clip and method; ``k`` counts the frames measured from 1: the distance from a painted first frame."""
    rows = [
        [i.method, i.clip, k, *values]
        for i in summary.items
        for k, values in enumerate(zip(*(i.per_frame[name] for name in PER_FRAME), strict=True), start=1)
    ]
    return csv_text(["method", "clip", "k", *PER_FRAME], rows)


def tables(summary: Summary) -> dict[str, str]:
    """File name -> content of every table."""
    return {
        "table.csv": table_csv(summary),
        "per_frame.csv": per_frame_csv(summary),
        "table.json": json.dumps(summary.to_json(), indent=1, allow_nan=False) + "\n",
        "table.md": summary.markdown,
    }
