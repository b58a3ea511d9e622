"""Measure methods on clips of true colour: the first frame is the painted one, or both ends are, or none; the rest is coloured from luma
alone and compared."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import chroma_to_unit
from dvcp.evaluation import metrics
from dvcp.evaluation.batch import EvaluationSettings, find_clips, measure_all, put_tables
from dvcp.evaluation.item import PER_FRAME, Item, clip_key, item_name, kept_item, put_item, strip_url
from dvcp.evaluation.plots import plot, put_strip, strip_frames
from dvcp.evaluation.source import Source
from dvcp.evaluation.tables import CEILING, Summary, tables
from dvcp.loop import colorize_frames
from dvcp.methods.base import Method, Reference
from dvcp.methods.networks import Networks

log = logging.getLogger(__name__)


def evaluate(settings: EvaluationSettings, *, progress: bool) -> Summary:
    """Measure every method on every clip, keep each result as soon as it is there, and write tables and plots.

    A clip that cannot be measured is listed in ``failed`` of the summary, and the rest goes on.

    Args:
        settings: what to measure.
        progress: show a bar and a line for each result on standard error; without it the lines go to the log.

    Raises:
        ConfigError: no clips, an unknown method, or one that needs a painted frame where there is none.
        WeightsError: a method whose weights cannot be loaded.
        StoreError: results cannot be written.
    """
    urls = find_clips(settings.clips)
    methods = settings.load()
    lead, tail = settings.painted.lead, settings.painted.tail
    items, failed = measure_all(
        {url: partial(Source, url, lead + settings.frames + tail, lead, tail, settings.aged) for url in urls},
        methods,
        lambda source, name, method: kept_or_measured(source, name, method, settings),
        lambda item: f"{item.clip} {item.method}: PSNR-Lab {item.mean('psnr_lab'):.2f} dB over {len(item)} frames",
        progress=progress,
    )
    summary = Summary(settings.frames, tuple(items), failed, settings.painted, settings.aged)
    put_tables(tables(summary), settings.out)
    plot(summary, settings.out)
    return summary


def kept_or_measured(source: Source, name: str, method: Method, settings: EvaluationSettings) -> Item:
    """The item of one clip and method: read back if an earlier evaluation left it in ``settings.out``, else measured and kept there."""
    key = clip_key(source.digest, method.digest(), settings.frames, settings.painted)
    item = kept_item(Item, settings.out, item_name(source.name, name, key), key)
    if item is None or (item.ssim is None and find_spec("skimage")):
        item = measure(source, name, method, settings)
        put_item(item, settings.out)
    return item


def measure(source: Source, name: str, method: Method, settings: EvaluationSettings) -> Item:
    """Colour one clip from its given frames and compare the others; the strip for the contact sheet is stored on the way."""
    film = source.film
    colour = film.colour
    references = {
        k: Reference(film.luma[k], chroma_to_unit(film.chroma[k], colour), in_shot=True, digest=source.digest) for k in source.given
    }
    started = time.perf_counter()
    planes = colorize_frames(method, film.luma, references, colour).planes
    seconds = time.perf_counter() - started

    count = len(source.measured)
    scores: dict[str, list[float]] = {column: [] for column in PER_FRAME}
    shares, shares_truth = [], []

    def pictures(k: int) -> tuple[metrics.Picture, metrics.Picture]:
        return film.coloured(k, planes), film.truth(k)

    def compared(k: int) -> tuple[dict[str, float], NDArray[np.float64], NDArray[np.float64]]:
        result, truth = pictures(k)
        return frame_scores(result, truth), metrics.histograms(result), metrics.histograms(truth)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, share, share_truth in pool.map(compared, source.measured):
            for column, value in found.items():
                scores[column].append(value)
            shares.append(share)
            shares_truth.append(share_truth)
    steady, steady_truth = source.steadiness(planes), source.steadiness_truth
    item = Item(
        clip=source.name,
        clip_digest=source.digest,
        method=name,
        method_digest=method.digest(),
        frames=settings.frames,
        width=film.luma.shape[2],
        height=film.luma.shape[1],
        per_frame=scores,
        cdc=metrics.cdc_of_histograms(shares) if count > 1 else None,
        cdc_truth=metrics.cdc_of_histograms(shares_truth) if count > 1 else None,
        warp_error=steady.warp_error if steady else None,
        warp_error_truth=steady_truth.warp_error if steady_truth else None,
        warp_error_soft=steady.warp_error_soft if steady else None,
        warp_error_soft_truth=steady_truth.warp_error_soft if steady_truth else None,
        flicker=steady.flicker if steady else None,
        flicker_truth=steady_truth.flicker if steady_truth else None,
        ssim=_ssim([pictures(source.measured[n - 1]) for n in sorted({1, *range(10, count + 1, 10)})]),
        seconds=seconds,
        weights=method.weights_digest if isinstance(method, Networks) else None,
        painted=settings.painted,
    )
    shown = [source.measured[n - 1] for n in strip_frames(count)]
    put_strip([[film.gray(k), *pictures(k)] for k in shown], strip_url(settings.out, item.stem))
    return item


def _ssim(pairs: list[tuple[metrics.Picture, metrics.Picture]]) -> float | None:
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        log.warning("no SSIM: scikit-image is not installed (pip install 'dvcp[eval]')")
        return None
    side = min(7, *pairs[0][0].shape[:2])
    window = side if side % 2 else side - 1
    if window < 3:
        return None
    measure: Callable[..., float] = structural_similarity
    return float(np.mean([measure(a, b, channel_axis=2, win_size=window) for a, b in pairs]))


def frame_scores(result: metrics.Picture, truth: metrics.Picture) -> dict[str, float]:
    """The scores in PER_FRAME of one frame, from uint8 RGB ``[H, W, 3]``."""
    lab, lab_truth = metrics.rgb_to_lab(result), metrics.rgb_to_lab(truth)
    return {
        "psnr_lab": min(CEILING, metrics.psnr_lab(lab, lab_truth)),
        "psnr_rgb": min(CEILING, metrics.psnr_rgb(result, truth)),
        # Every fourth pixel: CIEDE2000 costs more than all the rest together, and a mean over 100,000 pixels is as good.
        "delta_e2000": metrics.delta_e2000(lab[..., ::2, ::2, :], lab_truth[..., ::2, ::2, :]),
        "l2_ab": metrics.l2_ab(lab, lab_truth),
        "colourfulness": metrics.colourfulness(result),
        "colourfulness_truth": metrics.colourfulness(truth),
    }
