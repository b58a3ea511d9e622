"""The picture an operator looks at: a few frames of the film, gray, as coloured, and beside the truth where there is one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvcp.media.probe import VideoInfo, probe
from dvcp.media.reader import FrameReader
from dvcp.media.stills import frame_to_rgb, write_still
from dvcp.timing import Span

_GAP = 6


def before_after(source: str, out: str, picture: str, *, truth: str | None = None, frames: int = 4, height: int = 240) -> str:
    """Write a PNG with one row a frame: gray | coloured | truth (when given). Frames are spread evenly over the film.

    Args:
        source, out, truth: URLs of films of the same length.
        picture: where to write, a path or URL.

    Returns:
        ``picture``.
    """
    films = [probe(url) for url in (source, out, *([truth] if truth else []))]
    count = min(len(f.frames) for f in films)
    marks = sorted({(2 * k + 1) * count // (2 * frames) for k in range(frames)})
    columns = [_frames(film, marks, gray=k == 0) for k, film in enumerate(films)]
    rows = [np.concatenate(_spaced([_fit(column[k], height) for column in columns], 1), axis=1) for k in range(len(marks))]
    write_still(picture, np.concatenate(_spaced(rows, 0), axis=0))
    return picture


def _frames(film: VideoInfo, marks: list[int], gray: bool) -> list[NDArray[np.uint8]]:
    out = []
    with FrameReader(film) as reader:
        for mark in marks:
            luma, chroma = reader.planes(Span(mark, mark + 1))
            out.append(frame_to_rgb(luma[0], np.zeros_like(chroma[0], np.float32) if gray else chroma[0], film.colour))
    return out


def _fit(rgb: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    step = max(1, round(rgb.shape[0] / height))
    h, w = rgb.shape[0] // step * step, rgb.shape[1] // step * step
    blocks = rgb[:h, :w].reshape(h // step, step, w // step, step, 3)
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), np.uint8)


def _spaced(parts: list[NDArray[np.uint8]], axis: int) -> list[NDArray[np.uint8]]:
    shape = list(parts[0].shape)
    shape[axis] = _GAP
    gap = np.full(shape, 255, np.uint8)
    return [x for part in parts for x in (part, gap)][:-1]
