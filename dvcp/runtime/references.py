"""From the pictures at hand to what each shot is coloured from, with every doubt said in one line."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import luma_to_unit, rgb_to_ycbcr
from dvcp.errors import DvcpError, ReferenceError
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.media.stills import Still, fit_still, read_still
from dvcp.methods.base import Method
from dvcp.runtime.plan import ReferenceSource
from dvcp.shots.references import Picture
from dvcp.shots.timeline import Shot, ShotList
from dvcp.timing import Span

if TYPE_CHECKING:
    from dvcp.shots.index import Fit

#: correlation of a still's luma with the film's frame under which it is a picture of something else
_SAME_PICTURE = 0.5
#: pixels at which a loose picture is looked at: four times what the network sees of it
_LOOK = 1 << 18

Sources = dict[int, list[ReferenceSource]]


class Missing(StrEnum):
    """What a shot gets that has no painted still and that no loose picture fits: the nearest of all pictures, those painted for other
    shots among them; a key frame coloured automatically; no colour; or the job stops. An automatic method guesses its colours."""

    NEAREST = "nearest"
    AUTO = "auto"
    GRAY = "gray"
    ERROR = "error"


@dataclass(frozen=True)
class Assignment:
    """What one shot is coloured from.

    Attributes:
        shot: its number.
        sources: painted frames of the shot, or pictures from elsewhere (the best first), or none.
        borrowed: similarity (cosine) of each source to the shot where that chose them; empty where a person did.
        guessed: no person's picture says what colours it has: an automatic method colours it, or its key frame was coloured by one.
    """

    shot: int
    sources: tuple[ReferenceSource, ...]
    borrowed: tuple[float, ...] = ()
    guessed: bool = False


def assign(
    info: VideoInfo,
    shots: ShotList,
    pictures: Sequence[Picture],
    missing: Missing,
    take: int = 1,
    *,
    method: Method,
    settled: Collection[int] = (),
) -> tuple[list[Assignment], list[str]]:
    """Read and check the pictures that are needed and decide for every shot.

    A shot is coloured from its painted stills; else from the loose pictures that a person gave it; else from the picture that looks most
    like it. That is one of the loose pictures given to no shot; with ``missing`` "nearest" it may be any picture, and need not fit.
    A method that does not borrow gets painted stills only; an automatic one guesses the rest. With ``missing`` "auto" a shot that nothing
    serves is left without sources, for :func:`dvcp.runtime.guess.fill`.

    Args:
        take: most pictures for a shot that has none of its own; those behind the best must fit, and nearly as well.
        settled: numbers of shots that want no colour: they get what a person gave them, and nothing else.

    Returns:
        One assignment a shot, in film order, and warnings, one line each.

    Raises:
        ReferenceError: no picture can be used, or a shot has none and ``missing`` is "error".
    """
    warnings: list[str] = []
    own, loose = _painted(info, pictures, warnings)
    if not method.borrows:
        what = f"not used: {method.name} takes painted frames of the shot only; --method exemplar takes colours from other pictures"
        warnings += [f"{picture.url}: {what}" for picture in loose]
        loose = []
    given = _given(loose, own, warnings)
    bare = [shot for shot in shots.shots if not any(shot.number in numbers for numbers in (own, given, settled))]
    candidates = [ReferenceSource(p.url, "", None) for p in loose if p.shot is None]
    if missing is Missing.NEAREST and method.borrows:
        candidates += [source for kind in (own, given) for sources in kind.values() for source in sources]
    ranked = _ranked(info, bare, candidates, warnings) if bare and candidates else {}
    bold = method.automatic or missing is Missing.AUTO
    if bare and not (own or given or ranked or bold):
        first = warnings[0] if warnings else "they are all left out"
        raise ReferenceError(f"no picture can be used. {first}", hint="paint a frame of the film, or add pictures in colour")
    chosen: dict[int, Assignment] = {}
    for shot in bare:
        fits = _chosen(ranked.get(shot.number, ()), missing, take)
        sources = tuple(ReferenceSource(fit.url, fit.digest, None) for fit in fits)
        chosen[shot.number] = Assignment(shot.number, sources, tuple(fit.similarity for fit in fits), method.automatic and not fits)
        if fits or not bold:
            warnings.append(f"{info.url}, shot {shot.number}: no painted still, {_told(ranked.get(shot.number, ()), fits)}")
        elif method.automatic and pictures:
            warnings.append(f"{info.url}, shot {shot.number}: no painted still, colours guessed by {method.name}")
    if method.automatic and not pictures and bare:
        warnings.append(f"{info.url}: no painted stills, colours of {len(bare)} shots guessed by {method.name}")
    empty = [number for number, assignment in chosen.items() if not assignment.sources]
    if empty and missing is Missing.ERROR and not bold:
        what = "no painted still" + (", and no picture that fits," if ranked else "")
        numbers = ", ".join(map(str, empty))
        left = next((f" ({line})" for line in warnings if line.startswith("left out")), "")
        raise ReferenceError(f"{what} for shot {numbers}{left}", file=info.url, hint="paint one, or --missing nearest, auto or gray")
    persons = {number: Assignment(number, tuple(sources)) for number, sources in (given | own).items()}
    return [chosen.get(s.number) or persons.get(s.number, Assignment(s.number, ())) for s in shots.shots], warnings


def _painted(info: VideoInfo, pictures: Sequence[Picture], warnings: list[str]) -> tuple[Sources, list[Picture]]:
    """Painted frames by shot, each compared with the film, and the loose pictures."""
    own: Sources = defaultdict(list)
    loose = [picture for picture in pictures if picture.frame is None]
    with FrameReader(info) as reader:
        for picture in pictures:
            if picture.frame is None or picture.shot is None:
                continue
            try:
                still = read_still(picture.url)
            except DvcpError as error:
                warnings.append(f"left out: {error}")
                continue
            warnings += still.warnings
            if picture.frame in info.damaged:
                lost = f"paints frame {picture.frame}, which cannot be decoded: its own light is used, and motion may be found wrong"
                warnings.append(f"{picture.url}: {lost}; better paint another frame")
                own[picture.shot].append(ReferenceSource(picture.url, still.digest, picture.frame))
                continue
            rgb, fitted = fit_still(still, info.height, info.width)
            frame = luma_to_unit(reader.luma(Span(picture.frame, picture.frame + 1))[0], info.colour)
            # A frame or picture of one tone resembles nothing and anything: a person's word is needed.
            likeness = _correlation(_luma(rgb, info), frame, of_one_tone=1.0 if picture.told else 0.0)
            unlike = f"does not look like frame {picture.frame} (correlation {likeness:.2f})"
            if likeness < _SAME_PICTURE and not picture.told:
                warnings.append(f"{picture.url}: {unlike}, so it is used as a loose picture; --at {picture.frame} if it paints that frame")
                loose.append(Picture(picture.url, None, None))
                continue
            if fitted:
                warnings.append(fitted)
            if likeness < _SAME_PICTURE:
                warnings.append(f"{picture.url}: {unlike}: another picture? its colours may land anywhere")
            own[picture.shot].append(ReferenceSource(picture.url, still.digest, picture.frame))
    return own, loose


def _given(loose: Sequence[Picture], own: Mapping[int, object], warnings: list[str]) -> Sources:
    """Loose pictures that a person gave to a shot, by shot, in the order given."""
    given: Sources = defaultdict(list)
    for picture in loose:
        if picture.shot is None:
            continue
        if picture.shot in own:
            warnings.append(f"{picture.url}: not used, shot {picture.shot} has a painted still")
        elif (still := _read_loose(picture.url, warnings)) is not None:
            # A copy would count twice in the match, and not at all in the segment's key.
            if still.digest in (source.digest for source in given[picture.shot]):
                warnings.append(f"{picture.url}: not used, shot {picture.shot} has the same picture already")
            else:
                given[picture.shot].append(ReferenceSource(picture.url, still.digest, None))
    return given


def _read_loose(url: str, warnings: list[str]) -> Still | None:
    """A small version of a picture that gives colour; None, and a warning, when it cannot."""
    try:
        still = read_still(url, _LOOK)
    except DvcpError as error:
        warnings.append(f"left out: {error}")
        return None
    if still.gray:
        warnings.append(f"left out: {url}: it is gray and gives no colour; put a picture in colour there, or leave it")
        return None
    # A picture given to one shot is read again when others look for one.
    warnings += [warning for warning in still.warnings if warning not in warnings]
    return still


def _ranked(info: VideoInfo, shots: Sequence[Shot], candidates: Sequence[ReferenceSource], warnings: list[str]) -> dict[int, list[Fit]]:
    """By shot number all readable candidates, the best first; no shots when there are none."""
    # here: they load torch, 3 s that `dvcp probe` need not wait
    from dvcp.nets.embedding import PictureEmbedder
    from dvcp.shots.index import build_index, embed_shots

    def pictures() -> Iterator[tuple[str, str, NDArray[np.float32]]]:
        with FrameReader(info) as reader:
            for source in candidates:
                if source.frame is not None:
                    # The film's own luma, so that it does not matter how the paint changed it.
                    yield source.url, source.digest, luma_to_unit(reader.luma(Span(source.frame, source.frame + 1))[0], info.colour)
                elif (still := _read_loose(source.url, warnings)) is not None:
                    yield source.url, still.digest, _luma(still.rgb, info)

    net = PictureEmbedder().eval()
    index = build_index(net, pictures())
    if not index.pictures:
        return {}
    return {shot.number: index.rank(vector) for shot, vector in zip(shots, embed_shots(net, info, shots), strict=True)}


def _chosen(ranked: Sequence[Fit], missing: Missing, take: int) -> list[Fit]:
    from dvcp.shots.index import choose

    best = choose(ranked, take)
    return best if missing is Missing.NEAREST or (best and best[0].fits) else []


def _told(ranked: Sequence[Fit], chosen: Sequence[Fit]) -> str:
    """What became of a shot without a painted still, and what to do when that is not good."""
    if chosen:
        what = "borrows " + ", ".join(f"{fit.url} (similarity {fit.similarity:.2f})" for fit in chosen)
    elif ranked:
        what = f"stays gray, the nearest is {ranked[0].url} (similarity {ranked[0].similarity:.2f})"
    else:
        what = "stays gray"
    return f"{what}; nothing fits: paint a frame of it or add a picture like it" if ranked and not ranked[0].fits else what


def _luma(rgb: NDArray[np.float32], info: VideoInfo) -> NDArray[np.float32]:
    """Y' ``[H, W]`` in [0, 1] of ``rgb`` ``[H, W, 3]``, as the film's matrix has it."""
    return np.asarray(rgb_to_ycbcr(rgb, info.colour.matrix)[..., 0], np.float32)


def _correlation(a: NDArray[Any], b: NDArray[Any], of_one_tone: float) -> float:
    a, b = a.astype(np.float64) - a.mean(), b.astype(np.float64) - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else of_one_tone
