"""Pictures of an evaluation: the curves over distance, and strips of frames beside the truth."""

from __future__ import annotations

import io
import logging
import os
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvcp.evaluation.item import Item, strip_url
from dvcp.evaluation.pairtables import PairSummary
from dvcp.evaluation.tables import Summary, curve
from dvcp.media.stills import read_still, write_still
from dvcp.store import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

STRIP_WIDTH = 320
_GAP = 4


def strip_frames(count: int) -> list[int]:
    """Which measured frames a strip shows, of ``count``, the first being 1: 1, 10, 30 and 50, as far as there are, or the last."""
    return sorted({min(k, count) for k in (1, 10, 30, 50)})


def strip(rows: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """A grid of equally large RGB pictures, reduced to about STRIP_WIDTH each, white between them: uint8 ``[H, W, 3]``."""
    small = [[np.pad(_reduce(picture), ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for picture in row] for row in rows]
    grid: NDArray[np.uint8] = np.concatenate([np.concatenate(row, axis=1) for row in small], axis=0)[:-_GAP, :-_GAP]
    return grid


def put_strip(rows: list[list[NDArray[np.uint8]]], url: str) -> None:
    """Store the :func:`strip` of these pictures as PNG. Raises StoreError."""
    with tempfile.TemporaryDirectory() as folder:
        picture = os.path.join(folder, "strip.png")
        write_still(picture, strip(rows))
        files.put_file(picture, url)


def _reduce(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = -(-picture.shape[1] // STRIP_WIDTH)
    height, width = picture.shape[0] // step, picture.shape[1] // step
    if not height or step == 1:
        return picture
    blocks = picture[: height * step, : width * step].reshape(height, step, width, step, 3)
    reduced: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return reduced


def plot(summary: Summary, out: str) -> None:
    """Write pictures into the folder ``out``: ``curve.png``, PSNR-Lab by distance as in Deep Video Color Propagation, figures 8 and 9;
    ``sheet_<method>.png``, its worst, median and best clip; ``compare_<clip>.png``, gray | every method | truth.

    Without matplotlib (extra ``eval``) nothing is written but a line in the log.
    """
    Figure = _figure()
    if Figure is None:
        return
    measured = {method: items for method in summary.methods if (items := summary.of_method(method))}
    if not measured:
        return
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    over, at = figure.subplots(1, 2, sharey=True)
    for method, items in measured.items():
        values = curve(items)
        means = np.cumsum(values) / np.arange(1, len(values) + 1)
        for axes, line in ((over, means), (at, values)):
            axes.plot(range(1, len(values) + 1), line, label=method, marker="o" if len(values) == 1 else None)
    over.set(xlabel="N", ylabel="PSNR-Lab [dB], mean over clips", title="over the first N frames measured")
    at.set(xlabel="k", title="at the k-th frame measured")
    for axes in (over, at):
        axes.grid(alpha=0.3)
    over.legend()
    _save(figure, files.join(out, "curve.png"))
    for method, items in measured.items():
        _save(_sheet(method, items, out, Figure(layout="constrained")), files.join(out, f"sheet_{method}.png"))
    for clip in summary.clips:
        of_clip = [item for item in summary.items if item.clip == clip]
        shown = ", ".join(map(str, _numbers(of_clip[0])))
        title = f"{clip}, frames {shown}: gray | {' | '.join(item.method for item in of_clip)} | truth"
        strips = [read_still(strip_url(out, item.stem)).rgb for item in of_clip]
        _save(_comparison(strips, 1, title, Figure(layout="constrained")), files.join(out, f"compare_{clip}.png"))


def plot_pairs(summary: PairSummary, out: str) -> None:
    """Write ``pair_<clip>_from_<reference>_<frame>.png`` into the folder ``out`` for every pair: reference as the methods saw it | gray |
    every method | truth.

    Without matplotlib (extra ``eval``) nothing is written but a line in the log.
    """
    Figure = _figure()
    if Figure is None:
        return
    for pair in summary.pairs:
        items = summary.of_pair(pair)
        if not items:
            continue
        shown = ", ".join(str(k - 1) for k in strip_frames(items[0].count))
        methods = " | ".join(item.method for item in items)
        title = f"{pair.clip} from {pair.reference}, frame {pair.frame}; frames {shown}: reference | gray | {methods} | truth"
        strips = [read_still(strip_url(out, item.stem)).rgb for item in items]
        name = f"pair_{pair.clip}_from_{pair.reference}_{pair.frame}.png"
        _save(_comparison(strips, 2, title, Figure(layout="constrained")), files.join(out, name))


def _figure() -> type[Figure] | None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("no plots: matplotlib is not installed (pip install 'dvcp[eval]')")
        return None
    return Figure


def _numbers(item: Item) -> list[int]:
    """Numbers in the film of the frames in an item's strip."""
    return [n - 1 + item.painted.lead for n in strip_frames(len(item))]


def _sheet(method: str, items: list[Item], out: str, figure: Figure) -> Figure:
    ranked = sorted(items, key=lambda item: item.mean("psnr_lab"))
    places: dict[int, list[str]] = {}
    for rank, place in (("worst", 0), ("median", len(ranked) // 2), ("best", len(ranked) - 1)):
        places.setdefault(place, []).append(rank)
    chosen = {" and ".join(names): ranked[place] for place, names in places.items()}
    pictures = [read_still(strip_url(out, item.stem)).rgb for item in chosen.values()]
    figure.set_size_inches(10, 10 * sum(p.shape[0] / p.shape[1] for p in pictures) + 1.5)
    grid = figure.subplots(len(chosen), 1, squeeze=False, height_ratios=[p.shape[0] / p.shape[1] for p in pictures])
    for axes, picture, (rank, item) in zip(grid[:, 0], pictures, chosen.items(), strict=True):
        axes.imshow(picture)
        axes.set_axis_off()
        shown = ", ".join(map(str, _numbers(item)))
        axes.set_title(f"{rank}: {item.clip}, {item.mean('psnr_lab'):.2f} dB; gray | {method} | truth, frames {shown}", fontsize=9)
    return figure


def _comparison(strips: Sequence[NDArray[np.float32]], lead: int, title: str, figure: Figure) -> Figure:
    """All methods on one clip, from a strip of each: ``lead`` columns they share, the method's, the truth."""
    width = (strips[0].shape[1] - (lead + 1) * _GAP) // (lead + 2) + _GAP
    columns = [strips[0][:, : lead * width], *(s[:, lead * width : (lead + 1) * width] for s in strips), strips[0][:, (lead + 1) * width :]]
    picture = np.concatenate(columns, axis=1)
    across = 2.2 * (lead + 1 + len(strips))
    figure.set_size_inches(across, across * picture.shape[0] / picture.shape[1] + 0.5)
    axes = figure.subplots()
    axes.imshow(picture)
    axes.set_axis_off()
    axes.set_title(title, fontsize=9)
    return figure


def _save(figure: Figure, url: str) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    files.put_bytes(buffer.getvalue(), url)
