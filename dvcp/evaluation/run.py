"""Measure methods on clips of true colour: the first frame is the painted one, the rest is coloured from luma alone and compared."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dvcp.colour import ColourSpec, chroma_to_unit, luma_to_unit, unit_to_chroma
from dvcp.errors import ConfigError, DvcpError, MediaError
from dvcp.evaluation import metrics
from dvcp.evaluation.item import PER_FRAME, Item, item_key, item_name
from dvcp.evaluation.plots import plot, strip, strip_frames, strip_url
from dvcp.evaluation.stability import Motion, motions, warp_errors
from dvcp.evaluation.tables import CEILING, Summary, tables
from dvcp.loop import colorize_frames
from dvcp.media.probe import probe_colour
from dvcp.media.reader import FrameReader
from dvcp.media.source import VIDEO_SUFFIXES, content_digest
from dvcp.media.stills import frame_to_rgb, write_still
from dvcp.methods import create
from dvcp.methods.base import Method, Reference, Samples
from dvcp.methods.networks import Networks
from dvcp.store import files
from dvcp.timing import Span

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationSettings:
    """What to measure.

    Attributes:
        clips: folder (path or URL) of colour clips, one shot each.
        methods: names, as :func:`dvcp.methods.create` takes them.
        frames: frames after the reference to measure, 1 or more; a shorter clip gives what it has.
        out: folder (path or URL) for results. Items found in it are not measured again.
        options: of the methods made of networks, e.g. ``{"weights": "w.safetensors"}``.
    """

    clips: str
    methods: tuple[str, ...]
    frames: int = 50
    out: str = "evaluation"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ConfigError(f"cannot measure {self.frames} frames", hint="give 1 or more")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ConfigError(f"cannot measure the methods {list(self.methods)}", hint="name one or more, each once")


@dataclass(frozen=True, eq=False)
class Film:
    """The measured frames of one clip, native samples: luma ``[T, H, W]`` and chroma ``[T, 2, Hc, Wc]``; frame 0 is the reference."""

    luma: Samples
    chroma: Samples
    colour: ColourSpec


class Source:
    """One clip: its digest at once, its frames only when something is left to measure."""

    def __init__(self, url: str, frames: int) -> None:
        self.url, self.name, self._frames = url, files.split(url)[1], frames

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of the file. Raises MediaError."""
        return content_digest(self.url)

    @cached_property
    def film(self) -> Film:
        """Decoded at the first use. Raises MediaError, also for a clip that has no colour or nothing after its first frame."""
        info = probe_colour(self.url, "to compare with")
        if len(info.frames) < 2:
            raise MediaError("has a single frame: nothing follows the reference", file=self.url, hint="evaluate on longer clips")
        with FrameReader(info) as reader:
            return Film(*reader.planes(Span(0, min(self._frames + 1, len(info.frames)))), info.colour)

    @cached_property
    def motion(self) -> list[Motion]:
        """Of every frame after the reference into the next, found in the film's luma once for all methods."""
        luma = luma_to_unit(self.film.luma[1:], self.film.colour)
        return motions((luma * 255).round().clip(0, 255).astype(np.uint8))


def evaluate(settings: EvaluationSettings, *, progress: bool) -> Summary:
    """Measure every method on every clip, keep each result as soon as it is there, and write tables and plots.

    A clip that cannot be measured is listed in ``failed`` of the summary, and the rest goes on.

    Args:
        settings: what to measure.
        progress: show a bar and a line for each result on standard error; without it the lines go to the log.

    Raises:
        ConfigError: no clips, or an unknown method.
        WeightsError: a method whose weights cannot be loaded.
        StoreError: results cannot be written.
    """
    urls = find_clips(settings.clips)
    methods = {name: create(name, **settings.options) for name in settings.methods}
    for method in methods.values():
        if isinstance(method, Networks):
            method.load()
    items: list[Item] = []
    failed: list[str] = []
    with _reporting(len(urls) * len(methods), progress) as report:
        for url in urls:
            source = Source(url, settings.frames)
            for done, (name, method) in enumerate(methods.items()):
                try:
                    item = kept_or_measured(source, name, method, settings)
                except MediaError as error:
                    failed.append(str(error))
                    report(f"FAILED {error}", len(methods) - done)
                    break
                except DvcpError:
                    raise  # weights or storage: every other clip would fail the same way
                except Exception as error:
                    # a night of measuring must not be lost to what a network makes of one clip, such as running out of memory
                    log.debug("%s with %s", url, name, exc_info=True)
                    failed.append(f"{url}, {name}: {type(error).__name__}: {' '.join(str(error).split())}")
                    report(f"FAILED {failed[-1]}", 1)
                else:
                    items.append(item)
                    report(f"{item.clip} {name}: PSNR-Lab {item.mean('psnr_lab'):.2f} dB over {len(item)} frames", 1)
    summary = Summary(settings.frames, tuple(items), failed)
    for file_name, text in tables(summary).items():
        files.put_bytes(text.encode(), files.join(settings.out, file_name))
    plot(summary, settings.out)
    return summary


def find_clips(folder: str) -> list[str]:
    """URLs of the videos in a folder, sorted by name.

    Raises:
        ConfigError: there are none.
    """
    names = [name for name in files.list_names(folder) if name.lower().endswith(VIDEO_SUFFIXES)]
    if not names:
        raise ConfigError("holds no video files to measure on", file=folder, hint="give a folder of clips, one shot each")
    return [files.join(folder, name) for name in names]


def kept_or_measured(source: Source, name: str, method: Method, settings: EvaluationSettings) -> Item:
    """The item of one clip and method: read back if an earlier evaluation left it in ``settings.out``, else measured and kept there."""
    key = item_key(source.digest, method.digest(), settings.frames)
    url = files.join(settings.out, "items", f"{item_name(source.name, name, key)}.json")
    kept = files.get_bytes(url)
    item = Item.from_bytes(kept, key) if kept is not None else None
    if item and item.ssim is None and find_spec("skimage"):
        item = None
    if item is None or not files.exists(strip_url(settings.out, item)):
        item = measure(source, name, method, settings)
        files.put_bytes(item.to_bytes(), url)
    return item


def measure(source: Source, name: str, method: Method, settings: EvaluationSettings) -> Item:
    """Colour one clip from its first frame and compare the frames after it; the strip for the contact sheet is stored on the way."""
    film = source.film
    colour = film.colour
    reference = Reference(film.luma[0], chroma_to_unit(film.chroma[0], colour), in_shot=True, digest=source.digest)
    started = time.perf_counter()
    planes = colorize_frames(method, film.luma, {0: reference}, colour).planes
    seconds = time.perf_counter() - started

    count = len(film.luma) - 1
    scores: dict[str, list[float]] = {column: [] for column in PER_FRAME}
    shares, shares_truth, rows = [], [], []

    def pictures(k: int) -> tuple[metrics.Picture, metrics.Picture]:
        # codes first: what is measured is what a file would hold
        result = frame_to_rgb(film.luma[k], unit_to_chroma(planes[k], colour), colour)
        return result, frame_to_rgb(film.luma[k], film.chroma[k], colour)

    def compared(k: int) -> tuple[dict[str, float], NDArray[np.float64], NDArray[np.float64]]:
        result, truth = pictures(k)
        return frame_scores(result, truth), metrics.histograms(result), metrics.histograms(truth)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found, share, share_truth in pool.map(compared, range(1, count + 1)):
            for column, value in found.items():
                scores[column].append(value)
            shares.append(share)
            shares_truth.append(share_truth)
    for k in strip_frames(count):
        rows.append([frame_to_rgb(film.luma[k], np.zeros_like(planes[k]), colour), *pictures(k)])
    steady: tuple[float | None, float | None] = (None, None)
    steady_truth = steady
    if count > 1:
        steady, steady_truth = (warp_errors((pictures(k)[which] for k in range(1, count + 1)), source.motion) for which in (0, 1))
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
        warp_error=steady[0],
        warp_error_truth=steady_truth[0],
        warp_error_soft=steady[1],
        warp_error_soft_truth=steady_truth[1],
        ssim=_ssim([pictures(k) for k in sorted({1, *range(10, count + 1, 10)})]),
        seconds=seconds,
        weights=method.weights_digest if isinstance(method, Networks) else None,
    )
    with tempfile.TemporaryDirectory() as folder:
        picture = os.path.join(folder, "strip.png")
        write_still(picture, strip(rows))
        files.put_file(picture, strip_url(settings.out, item))
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


@contextmanager
def _reporting(total: int, progress: bool) -> Iterator[Callable[[str, int], None]]:
    """A function that reports, in one line, how many more pieces of ``total`` are done."""
    if not progress:
        yield lambda line, pieces: log.info(line)
        return
    columns = (TextColumn("evaluate"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("evaluate", total=total)

        def report(line: str, pieces: int) -> None:
            bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
            bar.advance(task, pieces)

        yield report
