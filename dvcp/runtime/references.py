"""From what the colourist left to what each shot is coloured from, with every doubt said in one line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import luma_to_unit
from dvcp.errors import DvcpError, ReferenceError
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.media.stills import Still, fit_still, read_still
from dvcp.runtime.plan import ReferenceSource
from dvcp.shots.references import PaintedStill
from dvcp.shots.timeline import ShotList
from dvcp.timing import Span

#: correlation of a still's luma with the film's frame under which it is a picture of something else
_SAME_PICTURE = 0.5


class Missing(StrEnum):
    """What a shot without a painted still gets: the best-matching still of another shot, no colour, or the job stops."""

    NEAREST = "nearest"
    GRAY = "gray"
    ERROR = "error"


@dataclass(frozen=True)
class Assignment:
    """What one shot is coloured from.

    Attributes:
        shot: its number.
        sources: painted frames of the shot, or one of another shot, or none.
        borrowed: similarity of the borrowed still (cosine), None when the shot has its own.
    """

    shot: int
    sources: tuple[ReferenceSource, ...]
    borrowed: float | None = None


def assign(info: VideoInfo, shots: ShotList, stills: Sequence[PaintedStill], missing: Missing) -> tuple[list[Assignment], list[str]]:
    """Read and check every still and decide for every shot.

    Returns:
        One assignment a shot, in film order, and warnings, one line each.

    Raises:
        ReferenceError: no still can be read, or a shot has none and ``missing`` is "error".
    """
    warnings: list[str] = []
    own: dict[int, list[ReferenceSource]] = defaultdict(list)
    with FrameReader(info) as reader:
        for still in stills:
            try:
                picture = read_still(still.url)
            except DvcpError as error:
                warnings.append(f"left out: {error}")
                continue
            warnings += _doubts(picture, still, info, reader)
            own[still.shot].append(ReferenceSource(still.url, picture.digest, still.frame))
    if not own:
        raise ReferenceError("no painted still can be read", file=stills[0].url if stills else None, hint="see the warnings above")
    bare = [shot for shot in shots.shots if shot.number not in own]
    if bare and missing is Missing.ERROR:
        numbers = ", ".join(str(s.number) for s in bare)
        raise ReferenceError(f"no painted still for shot {numbers}", file=info.url, hint="paint one, or --missing nearest or gray")
    borrowed: Mapping[int, Assignment] = {}
    if bare and missing is Missing.NEAREST:
        from dvcp.shots.nearest import nearest_stills  # here: it loads torch, 3 s that `dvcp probe` need not wait

        painted = [s for sources in own.values() for s in sources]
        found = nearest_stills(info, bare, [s.frame for s in painted if s.frame is not None])
        borrowed = {
            shot.number: Assignment(shot.number, (ReferenceSource(painted[k].url, painted[k].digest, None),), similarity)
            for shot, (k, similarity) in zip(bare, found, strict=True)
        }
    for shot in bare:
        choice = borrowed.get(shot.number)
        what = f"borrows {choice.sources[0].url} (similarity {choice.borrowed:.2f})" if choice else "stays gray"
        warnings.append(f"{info.url}, shot {shot.number}: no painted still, {what}")
    return [borrowed.get(s.number) or Assignment(s.number, tuple(own.get(s.number, ()))) for s in shots.shots], warnings


def _doubts(picture: Still, still: PaintedStill, info: VideoInfo, reader: FrameReader) -> list[str]:
    rgb, fitted = fit_still(picture, info.height, info.width)
    doubts = [f"{still.url}: {fitted}"] if fitted else []
    if picture.gray:
        doubts.append(f"{still.url}: the picture has no colour, so shot {still.shot} will have none")
    if still.frame is not None:
        frame = luma_to_unit(reader.luma(Span(still.frame, still.frame + 1))[0], info.colour)
        likeness = _correlation(rgb @ np.array([0.299, 0.587, 0.114], np.float32), frame)
        if likeness < _SAME_PICTURE:
            what = f"does not look like frame {still.frame} (correlation {likeness:.2f})"
            doubts.append(f"{still.url}: {what}: another picture? its colours may land anywhere")
    return doubts


def _correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 1.0
