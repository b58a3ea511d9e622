"""Colour one shot in memory: the plain loop that needs no Ray, and the order of work that the streaming runtime follows too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec
from dvcp.methods.base import Chroma, Evidence, Joining, Method, Reference, Samples, Window
from dvcp.timing import Span

State = dict[str, NDArray[Any]]


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
            the best first; or nothing, for an automatic method.
        colour: what the samples mean.

    Returns:
        Colour of all N frames, in film order. A reference's own frame carries the reference's colour untouched.

    Raises:
        ValueError: no reference for a method that needs one, one outside the frames, pictures from elsewhere beside painted frames, or for
            a method that does not borrow.
    """
    wrong = any((k < 0) == r.in_shot or k >= len(luma) for k, r in references.items())
    if wrong or not (references or method.automatic):
        where = f"references must lie in the {len(luma)} frames, or pictures from elsewhere at -1, -2, ..."
        raise ValueError(f"{where}, not at {sorted(references)}")
    if len({r.in_shot for r in references.values()}) > 1:
        raise ValueError("painted frames and pictures from elsewhere cannot be given together")
    elsewhere = [references[k] for k in sorted(references, reverse=True) if k < 0]
    if elsewhere and not method.borrows:
        raise ValueError(f"method {method.name} takes painted frames of the shot only")
    whole = Span(0, len(luma))
    if elsewhere or not references:
        return _Shot(method, luma, {}, colour, {None: method.anchor(elsewhere, colour)}).follow(None, whole, forward=True, both=False)
    shot = _Shot(method, luma, references, colour, {k: method.anchor([r], colour) for k, r in references.items()})
    pieces: list[Chroma] = []
    for piece in intervals(whole, sorted(references)):
        if piece.before is not None:
            pieces.append(verbatim(references[piece.before]))
        if piece.span is None:
            continue
        if piece.before is not None and piece.after is not None:
            pieces.append(shot.between(piece.before, piece.after, piece.span))
        elif piece.before is not None:
            pieces.append(shot.follow(piece.before, piece.span, forward=True, both=False))
        else:
            pieces.append(shot.follow(piece.after, piece.span, forward=False, both=False))
    return _joined(pieces)


@dataclass(frozen=True, eq=False)
class _Shot:
    """A shot being coloured: what :func:`colorize_frames` was given, and what matching needs by painted frame (None: of all pictures)."""

    method: Method
    luma: Samples
    references: Mapping[int, Reference]
    colour: ColourSpec
    anchors: Mapping[int | None, Any]

    def start(self, at: int | None) -> State | None:
        return None if at is None else self.method.start(self.references[at], self.colour)

    def parts(self, span: Span, *, forward: bool, both: bool) -> list[range]:
        return leg_windows(span, self.method.window.frames, forward=forward, both=both)

    def windows(self, at: int | None, parts: Sequence[range]) -> Iterator[tuple[Window, Evidence]]:
        for part in parts:
            window = Window(tuple(part), self.luma[list(part)], self.colour)
            yield window, self.method.match(window, self.anchors[at])

    def follow(self, at: int | None, span: Span, *, forward: bool, both: bool) -> Chroma:
        """One propagation, returned in film order."""
        state, done = self.start(at), []
        for window, evidence in self.windows(at, self.parts(span, forward=forward, both=both)):
            state, chroma = self.method.propagate(state, window, evidence)
            done.append(chroma)
        found = _joined(done)
        return found if forward else Chroma(found.planes[::-1].copy(), found.confidence[::-1].copy())

    def between(self, before: int, after: int, span: Span) -> Chroma:
        """Frames between two painted ones, from both sides."""
        method = self.method
        if not isinstance(method, Joining):
            forward, backward = (self.follow(at, span, forward=at == before, both=True) for at in (before, after))
            return blend(forward, backward, nearness(span, before, after))
        entered = [method.start(self.references[after], self.colour)]
        # Nothing lies before the last window of the backward leg, so nobody asks for the state it would leave.
        for window, evidence in self.windows(after, self.parts(span, forward=False, both=True)[:-1]):
            entered.append(method.behind(entered[-1], window, evidence))
        state, done = method.start(self.references[before], self.colour), []
        for window, evidence in self.windows(before, self.parts(span, forward=True, both=True)):
            state, chroma = method.join(state, window, evidence, entered.pop())
            done.append(chroma)
        return _joined(done)


def _joined(parts: Sequence[Chroma]) -> Chroma:
    return Chroma(np.concatenate([p.planes for p in parts]), np.concatenate([p.confidence for p in parts]))


def verbatim(reference: Reference) -> Chroma:
    """A reference's own frame: its colour untouched, full confidence."""
    return Chroma(reference.chroma[None], np.full((1, *reference.chroma.shape[1:]), 255, np.uint8))
