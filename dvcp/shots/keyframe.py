"""One gray picture a shot for the colourist to paint: choosing the frame, writing the files."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import luma_to_unit
from dvcp.errors import MediaError, ShotListError
from dvcp.media.picture import png_of
from dvcp.media.probe import VideoInfo
from dvcp.media.reader import FrameReader
from dvcp.media.source import stem
from dvcp.shots.names import still_name
from dvcp.shots.timeline import Shot, ShotList, read_shots, write_shots
from dvcp.store import files
from dvcp.timing import Span

#: histogram bins over black..white
BINS = 64
#: frames are judged at about this width: fine enough for blur, too coarse for grain
WIDTH = 480


@dataclass(frozen=True)
class Exported:
    """What an export left in its folder.

    Attributes:
        shots: the list it was made for, with the key frame of every exported shot.
        written: URLs of new stills.
        kept: URLs of stills that were there already, perhaps painted, and were not touched.
        list_url: where the shot list lies.
    """

    shots: ShotList
    written: tuple[str, ...]
    kept: tuple[str, ...]
    list_url: str


def choose_key_frame(info: VideoInfo, shot: Shot, *, samples: int = 15) -> int:
    """Frame number of the picture that stands best for a shot: sharp, typical, near the middle, no fade, not black, not blown out.

    Deterministic. Reads ``samples`` frames spread over the shot without its edges.

    Raises:
        MediaError: none of them can be decoded.
    """
    with FrameReader(info) as reader:
        return _choose(reader, info, shot.span, samples)


def _choose(reader: FrameReader, info: VideoInfo, span: Span, samples: int) -> int:
    edge = min((len(span) - 1) // 2, max(2, len(span) // 12))
    numbers = np.unique(np.linspace(span.first + edge, span.stop - 1 - edge, max(1, samples)).round().astype(int)).tolist()
    readable, pictures, trouble = [], [], None
    for number in numbers:
        try:
            luma = reader.luma(Span(number, number + 1))[0]
        except MediaError as error:
            trouble = error
            continue
        readable.append(number)
        pictures.append(_shrink(luma_to_unit(luma, info.colour).clip(0, 1)))
    if trouble is not None and not readable:
        raise trouble
    middle = (span.first + span.stop - 1) / 2
    scores = _scores(pictures) - 0.1 * np.abs(np.array(readable) - middle) / max(1, len(span) / 2)
    return int(readable[int(np.argmax(scores))])


def _shrink(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Area average by a whole factor, to about WIDTH."""
    height, width = gray.shape
    factor = max(1, min(round(width / WIDTH), height))
    cut = gray[: height // factor * factor, : width // factor * factor]
    return np.asarray(cut.reshape(height // factor, factor, width // factor, factor).mean(axis=(1, 3)), np.float32)


def _scores(pictures: list[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Score of each gray picture (0..1) among those of its shot; higher is better."""
    histograms = np.stack([np.histogram(p, BINS, (0, 1))[0] / p.size for p in pictures])
    typical = np.median(histograms, axis=0)
    # Mean distance in gray that samples have to be moved: 0.05 is a clearly different exposure or subject.
    distance = np.abs(np.cumsum(histograms - typical, axis=1)).mean(axis=1)
    contrast = np.array([float(p.std()) for p in pictures])
    clipped = np.array([float(((p < 0.02) | (p > 0.98)).mean()) for p in pictures])
    sharp = np.array([_tenengrad(p) for p in pictures])
    # A fade lowers contrast, a flash or black clips; both against what the better frames of this very shot have.
    spoiled = (contrast < 0.6 * np.quantile(contrast, 0.75)) | (clipped > np.quantile(clipped, 0.25) + 0.25)
    # Capped, or one frame full of scratches would outweigh everything else.
    relative = np.minimum(sharp / max(float(np.median(sharp[~spoiled])), 1e-12), 2)
    return np.asarray(relative - 5 * distance - 10.0 * spoiled)


def _tenengrad(gray: NDArray[np.float32]) -> float:
    """Mean squared gradient: falls with blur, by motion or by focus."""
    down, right = np.diff(gray, axis=0)[:, :-1], np.diff(gray, axis=1)[:-1]
    return float(np.mean(np.square(down) + np.square(right))) if down.size else 0.0


def export_references(
    info: VideoInfo, shots: ShotList, out_url: str, *, every_shot: bool = True, skip: Collection[int] = ()
) -> Exported:
    """Write one gray still a shot into the folder ``out_url``, and the shot list as ``<stem>_shots.json`` beside them.

    A shot's key frame is the one the list names, else a chosen one. Stills are PNG, display gray over the full range, 16 bit when the
    film has more than 8. A still that is there already stays as it is.

    Args:
        info: the film.
        shots: its shots.
        out_url: folder, any fsspec URL.
        every_shot: False exports only shots whose key frame the list names.
        skip: numbers of shots that want no colour; one whose key frame the list names is exported all the same.

    Raises:
        ShotListError: the folder holds a list with other cuts, which somebody may have edited.
        MediaError: a key frame cannot be decoded.
        StoreError: the folder cannot be written.
    """
    name = stem(info.url)
    list_url = files.join(out_url, f"{name}_shots.json")
    if files.exists(list_url) and read_shots(list_url, shots.frames, shots.rate, shots.source).digest() != shots.digest():
        message = "the folder already holds a shot list with other cuts"
        raise ShotListError(message, file=list_url, hint="export with that list, or move it away to use the new cuts")
    keyed: list[Shot] = []
    written: list[str] = []
    kept: list[str] = []
    with FrameReader(info) as reader:
        for shot in shots.shots:
            if shot.key is None and every_shot and shot.number not in skip:
                shot = replace(shot, key=_choose(reader, info, shot.span, 15))
            keyed.append(shot)
            if shot.key is None:
                continue
            url = files.join(out_url, still_name(name, shot.number, shot.key))
            picture = _display(reader.luma(Span(shot.key, shot.key + 1))[0], info)
            (written if files.put_bytes(png_of(picture), url, exclusive=True) else kept).append(url)
    result = replace(shots, shots=tuple(keyed))
    write_shots(result, list_url)
    return Exported(result, tuple(written), tuple(kept), list_url)


def _display(luma: NDArray[Any], info: VideoInfo) -> NDArray[Any]:
    """Native luma as full-range gray: uint8, or uint16 for films of more than 8 bits."""
    top, dtype = (255, np.uint8) if info.colour.depth == 8 else (65535, np.uint16)
    return np.rint(luma_to_unit(luma, info.colour).clip(0, 1).astype(np.float64) * top).astype(dtype)
