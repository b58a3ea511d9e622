"""Measure colour taken from a picture of another scene: each clip is coloured from a frame of another, as from a still from elsewhere.

There is no one right colour then, so what counts is whether the result has the reference's colours (more than gray has, and more than what
another picture gives), as much colour, and as steady as the film itself.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from dvcp.errors import ConfigError, MediaError, ShotListError
from dvcp.evaluation import metrics
from dvcp.evaluation.batch import EvaluationSettings, find_clips, measure_all, put_tables
from dvcp.evaluation.item import kept_item, put_item, strip_url
from dvcp.evaluation.painted import Painted
from dvcp.evaluation.pairtables import Pair, PairItem, PairSummary, pair_key, pair_name, pair_tables
from dvcp.evaluation.plots import plot_pairs, put_strip, strip_frames
from dvcp.evaluation.source import Picture, Source
from dvcp.loop import colorize_frames
from dvcp.media.probe import probe
from dvcp.media.source import stem
from dvcp.media.stills import fit_still, reference_from_still
from dvcp.methods.base import Chroma, Method
from dvcp.methods.networks import Networks
from dvcp.shots.formats import read_table
from dvcp.store import files

log = logging.getLogger(__name__)

COLUMNS = ("clip", "reference", "frame")


class Scene:
    """The clip of a pair, its reference, and the reference of another pair (None where there is no other)."""

    def __init__(self, pairs: Sequence[Pair], at: int, settings: EvaluationSettings) -> None:
        pair, other = pairs[at], other_pair(pairs, at)
        self.source = Source(files.join(settings.clips, pair.clip), settings.frames, 0, aged=settings.aged)
        self.reference = Picture(files.join(settings.clips, pair.reference), pair.frame)
        self.other = Picture(files.join(settings.clips, other.reference), other.frame) if other else None


def evaluate_pairs(settings: EvaluationSettings, pairs: str, *, progress: bool) -> PairSummary:
    """Measure every method on every pair, keep each result as soon as it is there, and write ``pairs.md``, ``pairs.csv``, ``pairs.json``
    and a contact sheet for each pair into ``settings.out``.

    A pair that cannot be measured, its own clips or the other picture being unreadable, is listed in ``failed`` of the summary, and the
    rest goes on.

    Args:
        settings: what to measure; the pairs name clips of its folder.
        pairs: path or URL of a CSV, see :func:`read_pairs`.
        progress: show a bar and a line for each result on standard error; without it the lines go to the log.

    Raises:
        ConfigError: no clips, a row that makes no sense, an unknown method, one that does not borrow, or frames to be painted.
        WeightsError: a method whose weights cannot be loaded.
        StoreError: results cannot be written.
    """
    if settings.painted is not Painted.FIRST:
        raise ConfigError(f"--painted {settings.painted} says nothing of --pairs", hint="give one of them: no clip of a pair is painted")
    found, methods = read_pairs(pairs, settings.clips), settings.load()
    if needy := [name for name, method in methods.items() if not method.borrows]:
        message = f"cannot measure {', '.join(needy)} on pairs: painted frames of the shot only"
        raise ConfigError(message, hint="name --methods that take colours from other pictures, such as exemplar")
    items, failed = measure_all(
        {str(pair): partial(Scene, found, at, settings) for at, pair in enumerate(found)},
        methods,
        lambda scene, name, method: kept_or_measured(scene, name, method, settings),
        _line,
        progress=progress,
    )
    summary = PairSummary(settings.frames, tuple(found), tuple(items), failed, settings.aged)
    put_tables(pair_tables(summary), settings.out)
    plot_pairs(summary, settings.out)
    return summary


def _line(item: PairItem) -> str:
    pair = Pair(item.clip, item.reference, item.frame)
    return f"{pair}, {item.method}: chroma distance {item.distance:.2f}, of gray {item.distance_gray:.2f}"


def read_pairs(url: str, clips: str) -> list[Pair]:
    """The pairs of a CSV with the columns ``clip,reference,frame`` (0-based) and, if wanted, ``kind`` (a word to take means by).

    Clips are named as in the folder ``clips``, with or without extension. Clip and reference may be the same clip.

    Raises:
        ConfigError: no such file, a column missing, no rows, and, naming the line: no such clip, a frame that is no number or lies beyond
            the reference's end, a pair given twice.
    """
    data = files.get_bytes(url)
    if data is None:
        raise ConfigError("no such file", file=url, hint=f"give a CSV with the columns {','.join(COLUMNS)}")
    names = [files.split(clip)[1] for clip in find_clips(clips)]
    try:
        rows = read_table(data, url, COLUMNS)
    except ShotListError as error:
        raise ConfigError(error.message, file=url, hint=error.hint) from error
    if not rows:
        raise ConfigError("holds no pairs", file=url, hint=f"a line for each pair: {','.join(COLUMNS)}")
    lengths: dict[str, int | None] = {}
    lines: dict[tuple[str, str, int], int] = {}
    pairs: list[Pair] = []
    for line, cells in rows:
        clip, reference = (_named(cells[column], names, clips, f"line {line}", url) for column in ("clip", "reference"))
        if reference not in lengths:
            lengths[reference] = _length(files.join(clips, reference))
        last = lengths[reference]
        if not (cells["frame"].isascii() and cells["frame"].isdigit()):
            raise ConfigError(f"line {line}: {cells['frame']!r} is no frame number", file=url, hint="give a whole number, 0 for the first")
        frame = int(cells["frame"])
        if last is not None and frame >= last:
            raise ConfigError(f"line {line}: {reference} has no frame {frame}", file=url, hint=f"give 0 to {last - 1}")
        if (clip, reference, frame) in lines:
            raise ConfigError(f"line {line}: the same pair as in line {lines[clip, reference, frame]}", file=url, hint="remove one")
        lines[clip, reference, frame] = line
        pairs.append(Pair(clip, reference, frame, cells.get("kind", "")))
    return pairs


def _named(cell: str, names: list[str], clips: str, where: str, url: str) -> str:
    found = [cell] if cell in names else [name for name in names if stem(name) == cell]
    if len(found) > 1:
        raise ConfigError(f"{where}: {cell!r} may be any of {', '.join(found)}", file=url, hint="name the file with its extension")
    if not found:
        raise ConfigError(f"{where}: no clip {cell!r} in {clips}", file=url, hint="give the name of a file there")
    return found[0]


def _length(url: str) -> int | None:
    """Frames of a clip; None for one that cannot be read, which is listed when its turn comes."""
    try:
        return len(probe(url).frames)
    except MediaError:
        return None


def other_pair(pairs: Sequence[Pair], at: int) -> Pair | None:
    """Whose reference stands for a random one beside pair ``at``: the next down the list, from its top again after the end, whose reference
    is of another clip. None when there is none."""
    following = [*pairs[at + 1 :], *pairs[:at]]
    return next((pair for pair in following if pair.reference != pairs[at].reference), None)


def kept_or_measured(scene: Scene, name: str, method: Method, settings: EvaluationSettings) -> PairItem:
    """The item of one pair and method: read back if an earlier evaluation left it in ``settings.out``, else measured and kept there.

    Raises MediaError: one of the clips cannot be read.
    """
    source, reference, other = scene.source, scene.reference, scene.other
    others = (other.clip_digest, other.frame) if other else (None, None)
    key = pair_key(source.digest, (reference.clip_digest, reference.frame), others, method.digest(), settings.frames)
    item = kept_item(PairItem, settings.out, pair_name(source.name, reference.name, reference.frame, name, key), key)
    if item is None:
        item = measure(scene, name, method, settings)
        put_item(item, settings.out)
    return item


def measure(scene: Scene, name: str, method: Method, settings: EvaluationSettings) -> PairItem:
    """Colour the first frames of one clip from its reference and from the other, and compare; the strip for the contact sheet is stored on
    the way. Raises MediaError."""
    source, reference, other = scene.source, scene.reference, scene.other
    film = source.film
    wanted = metrics.chroma_profile(metrics.rgb_to_lab(reference.codes))
    started = time.perf_counter()
    planes = _coloured(source, reference, method).planes
    seconds = time.perf_counter() - started
    planes_other = _coloured(source, other, method).planes if other else None

    def distance(picture: metrics.Picture) -> float:
        # every fourth pixel, as in CIEDE2000: where colours lie plays no part, and all of them take about half a second a frame at 480p
        return metrics.chroma_distance(metrics.chroma_profile(metrics.rgb_to_lab(picture[::2, ::2])), wanted)

    def compared(k: int) -> tuple[float, float, float | None]:
        result = film.coloured(k, planes)
        away = None if planes_other is None else distance(film.coloured(k, planes_other))
        return distance(result), metrics.colourfulness(result), away

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        distances, colourfulness, others = zip(*pool.map(compared, source.measured), strict=True)
    steady, steady_truth = source.steadiness(planes), source.steadiness_truth
    item = PairItem(
        clip=source.name,
        clip_digest=source.digest,
        reference=reference.name,
        reference_digest=reference.clip_digest,
        frame=reference.frame,
        other=other.name if other else None,
        other_digest=other.clip_digest if other else None,
        other_frame=other.frame if other else None,
        method=name,
        method_digest=method.digest(),
        frames=settings.frames,
        count=len(source.measured),
        width=film.luma.shape[2],
        height=film.luma.shape[1],
        distance=float(np.mean(distances)),
        # the same for every frame: without colour nothing of the film is left in the a*b* plane
        distance_gray=distance(film.gray(0)),
        distance_other=float(np.mean(others)) if other else None,
        colourfulness=float(np.mean(colourfulness)),
        colourfulness_reference=metrics.colourfulness(reference.codes),
        flicker=steady.flicker if steady else None,
        flicker_truth=steady_truth.flicker if steady_truth else None,
        seconds=seconds,
        weights=method.weights_digest if isinstance(method, Networks) else None,
    )
    fitted, _ = fit_still(reference.still, item.height, item.width)
    seen = np.rint(fitted * 255).astype(np.uint8)
    rows = [[seen, film.gray(k), film.coloured(k, planes), film.truth(k)] for k in (n - 1 for n in strip_frames(item.count))]
    put_strip(rows, strip_url(settings.out, item.stem))
    return item


def _coloured(source: Source, picture: Picture, method: Method) -> Chroma:
    reference, warnings = reference_from_still(picture.still, source.info, None)
    for warning in warnings:
        log.info("%s: %s", source.url, warning)
    return colorize_frames(method, source.film.luma, {-1: reference}, source.film.colour)
