"""Pictures of an evaluation: the curve over distance, and strips of frames beside the truth."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dvcp.evaluation.item import Item, item_key, item_name
from dvcp.evaluation.tables import Summary, curve
from dvcp.media.stills import read_still
from dvcp.store import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

STRIP_WIDTH = 320
_GAP = 4


def strip_frames(count: int) -> list[int]:
    """Distances from the reference that a strip shows, of ``count`` frames: the first, the middle one and the last."""
    return sorted({1, (count + 1) // 2, count})


def strip_url(out: str, item: Item) -> str:
    """Where the strip of an item lies."""
    key = item_key(item.clip_digest, item.method_digest, item.frames)
    return files.join(out, "items", f"{item_name(item.clip, item.method, key)}.png")


def strip(rows: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """A grid of equally large RGB pictures, reduced to about STRIP_WIDTH each, white between them: uint8 ``[H, W, 3]``."""
    small = [[np.pad(_reduce(picture), ((0, _GAP), (0, _GAP), (0, 0)), constant_values=255) for picture in row] for row in rows]
    grid: NDArray[np.uint8] = np.concatenate([np.concatenate(row, axis=1) for row in small], axis=0)[:-_GAP, :-_GAP]
    return grid


def _reduce(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = -(-picture.shape[1] // STRIP_WIDTH)
    height, width = picture.shape[0] // step, picture.shape[1] // step
    if not height or step == 1:
        return picture
    blocks = picture[: height * step, : width * step].reshape(height, step, width, step, 3)
    reduced: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return reduced


def plot(summary: Summary, out: str) -> None:
    """Write ``curve.png`` and, for each method, ``sheet_<method>.png`` with its worst, median and best clip, into the folder ``out``.

    Without matplotlib (extra ``eval``) nothing is written but a line in the log.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        log.warning("no plots: matplotlib is not installed (pip install 'dvcp[eval]')")
        return
    measured = {method: items for method in summary.methods if (items := summary.of_method(method))}
    if not measured:
        return
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for method, items in measured.items():
        values = curve(items)
        axes.plot(range(1, len(values) + 1), values, label=method, marker="o" if len(values) == 1 else None)
    axes.set(xlabel="frames after the reference", ylabel="PSNR-Lab [dB], mean over clips")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, files.join(out, "curve.png"))
    for method, items in measured.items():
        _save(_sheet(method, items, out, Figure(layout="constrained")), files.join(out, f"sheet_{method}.png"))


def _sheet(method: str, items: list[Item], out: str, figure: Figure) -> Figure:
    ranked = sorted(items, key=lambda item: item.mean("psnr_lab"))
    places: dict[int, list[str]] = {}
    for rank, place in (("worst", 0), ("median", len(ranked) // 2), ("best", len(ranked) - 1)):
        places.setdefault(place, []).append(rank)
    chosen = {" and ".join(names): ranked[place] for place, names in places.items()}
    pictures = [read_still(strip_url(out, item)).rgb for item in chosen.values()]
    figure.set_size_inches(10, 10 * sum(p.shape[0] / p.shape[1] for p in pictures) + 1.5)
    grid = figure.subplots(len(chosen), 1, squeeze=False, height_ratios=[p.shape[0] / p.shape[1] for p in pictures])
    for axes, picture, (rank, item) in zip(grid[:, 0], pictures, chosen.items(), strict=True):
        axes.imshow(picture)
        axes.set_axis_off()
        shown = ", ".join(map(str, strip_frames(len(item))))
        axes.set_title(f"{rank}: {item.clip}, {item.mean('psnr_lab'):.2f} dB; gray | {method} | truth, frames {shown}", fontsize=9)
    return figure


def _save(figure: Figure, url: str) -> None:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    files.put_bytes(buffer.getvalue(), url)
