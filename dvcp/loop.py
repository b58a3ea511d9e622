"""Colour one shot in memory: the plain loop that needs no Ray, and the order of work that the streaming runtime follows too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Method, Reference, Samples, Window
from dvcp.timing import Span


def leg_windows(span: Span, size: int, *, forward: bool, both: bool) -> list[range]:
    """The windows in which one propagation crosses ``span``, in propagation order (backward ones run backward).

    Windows are counted from the reference, so the cuts do not depend on how a shot is divided into segments, and a frame is always computed
    in the same batch. Where two propagations meet (``both``) they share the cuts of the forward one, so that segments can be blended.
    """
    if forward or both:
        windows = [range(first, min(first + size, span.stop)) for first in range(span.first, span.stop, size)]
        return windows if forward else [w[::-1] for w in reversed(windows)]
    return [range(last, max(last - size, span.first - 1), -1) for last in range(span.stop - 1, span.first - 1, -size)]


@dataclass(frozen=True)
class Interval:
    """Frames of a shot between two painted frames, or between one and an end of the shot. Independent of all others.

    Attributes:
        span: the frames to propagate into, without the painted ones; None when there are none.
        before: painted frame just before ``span`` or None; it belongs to this interval.
        after: painted frame just behind ``span`` or None; it belongs to the next.
    """

    span: Span | None
    before: int | None
    after: int | None


def intervals(shot: Span, painted: Sequence[int]) -> list[Interval]:
    """Divide a shot at its painted frames (sorted, at least one), in film order."""
    pieces = [Interval(Span(shot.first, painted[0]), None, painted[0])] if painted[0] > shot.first else []
    for mark, after in zip(painted, [*painted[1:], None], strict=True):
        stop = shot.stop if after is None else after
        pieces.append(Interval(Span(mark + 1, stop) if stop > mark + 1 else None, mark, after))
    return pieces


def blend(forward: Chroma, backward: Chroma, nearness: NDArray[np.float32]) -> Chroma:
    """Two propagations of the same frames, weighted by distance to their references and by confidence, pixel by pixel.

    Args:
        nearness: float32 ``[T]``, weight of ``forward`` by distance alone: 1 at its reference, 0 at the other.
    """
    near = nearness[:, None, None]
    weight_f = near * (forward.confidence.astype(np.float32) + 1)
    weight_b = (1 - near) * (backward.confidence.astype(np.float32) + 1)
    share = weight_f / (weight_f + weight_b)
    planes = backward.planes + share[:, None] * (forward.planes - backward.planes)
    confidence = np.maximum(forward.confidence, backward.confidence)
    return Chroma(planes.astype(np.float32), confidence)


def nearness(frames: Span, before: int, after: int) -> NDArray[np.float32]:
    """Weight of the reference ``before`` at each frame of ``frames`` by distance: 1 at ``before``, 0 at ``after``."""
    return ((after - np.arange(frames.first, frames.stop, dtype=np.float32)) / np.float32(after - before)).astype(np.float32)


def colorize_frames(method: Method, luma: Samples, references: Mapping[int, Reference], colour: ColourSpec) -> Chroma:
    """Colour the frames of one shot.

    Args:
        luma: native samples ``[N, H, W]``.
        references: by frame number in ``luma``; or pictures that are no frames of the shot (``in_shot`` False), numbered -1, -2, ...,
            the best first.
        colour: what the samples mean.

    Returns:
        Colour of all N frames, in film order. A reference's own frame carries the reference's colour untouched.

    Raises:
        ValueError: no reference, one outside the frames, or pictures from elsewhere beside painted frames.
    """
    if not references or any((k < 0) == r.in_shot or k >= len(luma) for k, r in references.items()):
        where = f"references must lie in the {len(luma)} frames, or pictures from elsewhere at -1, -2, ..."
        raise ValueError(f"{where}, not at {sorted(references)}")
    if len({r.in_shot for r in references.values()}) > 1:
        raise ValueError("painted frames and pictures from elsewhere cannot be given together")
    elsewhere = [references[k] for k in sorted(references, reverse=True) if k < 0]
    anchors = {-1: method.anchor(elsewhere, colour)} if elsewhere else {k: method.anchor([r], colour) for k, r in references.items()}

    def follow(at: int, span: Span, forward: bool, both: bool) -> Chroma:
        """One propagation, returned in film order."""
        state, done = None if elsewhere else method.start(references[at], colour), []
        for part in leg_windows(span, method.window.frames, forward=forward, both=both):
            window = Window(tuple(part), luma[list(part)], colour)
            state, chroma = method.propagate(state, window, method.match(window, anchors[at]))
            done.append(chroma)
        planes, confidence = np.concatenate([c.planes for c in done]), np.concatenate([c.confidence for c in done])
        return Chroma(planes, confidence) if forward else Chroma(planes[::-1].copy(), confidence[::-1].copy())

    whole = Span(0, len(luma))
    if elsewhere:
        return follow(-1, whole, forward=True, both=False)
    pieces: list[Chroma] = []
    for piece in intervals(whole, sorted(references)):
        if piece.before is not None:
            pieces.append(verbatim(references[piece.before]))
        if piece.span is None:
            continue
        both = piece.before is not None and piece.after is not None
        forward = None if piece.before is None else follow(piece.before, piece.span, forward=True, both=both)
        backward = None if piece.after is None else follow(piece.after, piece.span, forward=False, both=both)
        if forward and backward and piece.before is not None and piece.after is not None:
            pieces.append(blend(forward, backward, nearness(piece.span, piece.before, piece.after)))
        else:
            pieces += [leg for leg in (forward, backward) if leg]
    return Chroma(np.concatenate([p.planes for p in pieces]), np.concatenate([p.confidence for p in pieces]))


def verbatim(reference: Reference) -> Chroma:
    """A reference's own frame: its colour untouched, full confidence."""
    return Chroma(reference.chroma[None], np.full((1, *reference.chroma.shape[1:]), 255, np.uint8))
