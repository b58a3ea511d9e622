"""The four kinds of Ray actor. Each call is one whole segment (or one stateless window), and its memory lives and dies inside the call.

A stage pulls from the one before it, and each is a streaming generator: the writer owns the propagator's stream, the propagator owns the
decoder's. Per-frame calls on a stateful actor were tried elsewhere and lost: a restarted actor answers them with fresh state, silently.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, chroma_to_unit, unit_to_chroma
from dvcp.errors import MediaError, ReferenceError
from dvcp.loop import blend, nearness, verbatim
from dvcp.media.probe import VideoInfo
from dvcp.media.profiles import profile_of
from dvcp.media.reader import FrameReader, windows
from dvcp.media.stills import read_still, reference_from_still
from dvcp.media.writer import SegmentWriter
from dvcp.methods import create
from dvcp.methods.base import Chroma, Evidence, Fusing, Joining, Method, Proposals, Reference, Samples, Window
from dvcp.methods.fields import by_fields
from dvcp.runtime.plan import Leg, ReferenceSource, Segment
from dvcp.store.ledger import Ledger, SegmentRecord
from dvcp.store.provenance import environment
from dvcp.timing import Span


@dataclass(frozen=True)
class Work:
    """What every actor of a job needs to know; small, sent with each call.

    Attributes:
        info: the film.
        method, options: of :func:`dvcp.methods.create`.
        ledger: URL of the ledger's folder.
        ahead: windows decoded and matched ahead of propagation, so that open work is bounded in bytes.
        fields: frames are woven of two fields, each to be coloured by itself.
        shot: the frames of the shot in hand.
    """

    info: VideoInfo
    method: str
    options: tuple[tuple[str, Any], ...]
    ledger: str
    ahead: int
    fields: bool = False
    shot: Span | None = None


#: pixels of a picture from elsewhere that are read, for each of the film's
_USEFUL = 4


@dataclass(frozen=True)
class Progress:
    """Frames coloured since the last report."""

    frames: int


def load_reference(info: VideoInfo, source: ReferenceSource, fields: bool = False) -> Reference:
    """Read a still, and the film's own frame it paints; or, where the film itself is named, that frame's own colour.

    Raises:
        ReferenceError: unreadable still, or one that is not what it was when the job was planned.
        MediaError: unreadable frame.
    """
    luma = None
    if source.frame is not None and source.frame in info.damaged and source.url != info.url:
        # What was painted over cannot be decoded any more: the painting's own light has to do.
        return replace(reference_from_still(read_still(source.url), info, None, fields)[0], in_shot=True)
    if source.frame is not None:
        with FrameReader(info) as reader:
            luma, chroma = (planes[0] for planes in reader.planes(Span(source.frame, source.frame + 1)))
        if source.url == info.url:
            return Reference(luma, chroma_to_unit(chroma, info.colour), True, source.digest)
    # A picture from elsewhere may be of any size, and only so many of its pixels can be of use.
    still = read_still(source.url, None if source.frame is not None else _USEFUL * info.height * info.width)
    if still.digest != source.digest:
        raise ReferenceError("changed since the run began", file=source.url, hint="run the same command again")
    return reference_from_still(still, info, luma, fields)[0]


T = TypeVar("T")
#: luma and chroma of some frames, native samples, and their mean confidence in [0, 1]
Pictures = tuple[Samples, Samples, float]
State = dict[str, NDArray[Any]]
Step = Callable[[State | None, Window, Evidence], tuple[State, T]]


class Actor:
    """Base of all actors."""

    @ray.method(max_task_retries=-1)
    def alive(self) -> bool:
        """True, as soon as the actor runs: the call waits through a restart, where others fail at once."""
        return True


class _Networks(Actor):
    """The method, built on first use and kept: the one thing an actor may remember, since it never changes."""

    def __init__(self, threads: int) -> None:
        import torch

        if threads:
            torch.set_num_threads(threads)
        self._methods: dict[Any, Method] = {}

    def method(self, work: Work) -> Method:
        key = (work.method, work.options)
        if key not in self._methods:
            self._methods[key] = create(work.method, **dict(work.options))
        return by_fields(self._methods[key]) if work.fields else self._methods[key]


class Decoder(Actor):
    """Luma of windows. Runs apart because a damaged stream can take its process down."""

    def windows(self, info: VideoInfo, spans: Sequence[Span], backward: bool, shot: Span | None) -> Iterator[Any]:
        """Native samples ``[T, H, W]`` of each span, in order; a streaming generator."""
        for _, luma in windows(info, spans, backward, shot):
            yield luma


class Matcher(_Networks):
    """Evidence for any window of any shot: stateless, so Ray may repeat a call."""

    def anchor(self, work: Work, references: Sequence[ReferenceSource]) -> Any:
        """What matching needs of the references of one propagation."""
        return self.method(work).anchor([load_reference(work.info, r, work.fields) for r in references], work.info.colour)

    def match(self, work: Work, frames: tuple[int, ...], luma: Any, anchor: Any) -> Evidence:
        """Evidence for one window."""
        return self.method(work).match(Window(frames, luma, work.info.colour), anchor)


@dataclass(frozen=True)
class Lane:
    """Actors that work on one segment at a time: a writer, the propagator and the decoder it pulls from, and the matchers all lanes share.

    Handles travel with every call: as constructor arguments they would lie in the object store, and a restart fails once they are evicted.
    """

    writer: Any
    propagator: Any
    decoder: Any
    matchers: tuple[Any, ...]


class Propagator(_Networks):
    """Carries colour through one segment in order."""

    _turn = 0

    def colour(self, work: Work, segment: Segment, lane: Lane) -> Iterator[tuple[Span, NDArray[Any], float]]:
        """Native chroma of the segment in film order, window by window, with its mean confidence in [0, 1]; a streaming generator."""
        colour, work = work.info.colour, replace(work, fields=segment.fields, shot=segment.identity.shot)
        if segment.painted is not None:
            mark = segment.span.first
            yield _block(Span(mark, mark + 1), verbatim(load_reference(work.info, segment.painted, work.fields)), colour)
        legs = {leg.forward: leg for leg in segment.legs}
        method = self.method(work)
        if segment.scout:
            for _ in self._leg(work, lane, legs[False], _crossing(method) if isinstance(method, Joining) else method.propagate):
                pass
        elif len(legs) == 2 and isinstance(method, Joining):
            for span, chroma in self._between(work, lane, method, legs):
                yield _block(span, chroma, colour)
        elif len(legs) == 2 and segment.blend is not None:
            # The backward leg is held whole, as few planes as the segment has frames; the forward one streams past it.
            behind = list(self._chroma(work, lane, legs[False]))[::-1]
            for (span, ahead), (same, back) in zip(self._chroma(work, lane, legs[True]), behind, strict=True):
                assert span == same
                yield _block(span, blend(ahead, _reversed(back), nearness(span, *segment.blend)), colour)
        elif True in legs:
            for span, chroma in self._chroma(work, lane, legs[True]):
                yield _block(span, chroma, colour)
        elif False in legs:
            blocks = [_block(span, _reversed(chroma), colour) for span, chroma in self._chroma(work, lane, legs[False])]
            while blocks:
                # Not "yield from reversed(...)": Ray drives a streaming generator with send(), which a plain iterator does not have.
                yield blocks.pop()

    def propose(self, work: Work, segment: Segment, lane: Lane) -> Iterator[tuple[tuple[int, ...], Proposals]]:
        """What the branches propose for each window, in propagation order, with its frame numbers; a streaming generator."""
        method = self.method(work)
        assert isinstance(method, Fusing), f"{method.name} has no fusion to train"
        for leg in segment.legs:
            yield from self._leg(work, lane, leg, method.propose)

    def _between(self, work: Work, lane: Lane, method: Joining, legs: dict[bool, Leg]) -> Iterator[tuple[Span, Chroma]]:
        """Chroma of each window between two painted frames, in film order, by a method that colours them from both sides at once."""
        back = legs[False]
        entered = [self._begin(work, back)]
        # The state that the last window leaves is wanted by earlier segments alone, and a scout has stored it for them.
        if len(back.windows) > 1:
            ahead = replace(back, windows=back.windows[:-1])
            entered += [state for _, state in self._leg(work, lane, ahead, _crossing(method))]

        def step(state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
            behind = entered.pop()
            assert state is not None and behind is not None
            return method.join(state, window, evidence, behind)

        for frames, chroma in self._leg(work, lane, legs[True], step):
            yield Span(frames[0], frames[-1] + 1), chroma

    def _chroma(self, work: Work, lane: Lane, leg: Leg) -> Iterator[tuple[Span, Chroma]]:
        """Chroma of each window of one propagation, in propagation order."""
        for frames, chroma in self._leg(work, lane, leg, self.method(work).propagate):
            yield Span(min(frames), max(frames) + 1), chroma

    def _leg(self, work: Work, lane: Lane, leg: Leg, step: Step[T]) -> Iterator[tuple[tuple[int, ...], T]]:
        """One propagation: what ``step`` makes of each window, in propagation order. Stores the state it leaves."""
        state = self._begin(work, leg)
        for window, evidence in self._windows(work, lane, leg):
            state, made = step(state, window, evidence)
            yield window.frames, made
        if leg.leaves:
            assert state is not None
            Ledger(work.ledger).put_state(leg.leaves, state)

    def _begin(self, work: Work, leg: Leg) -> State | None:
        """The state before the first window of a leg; None where a shot without painted frames begins."""
        if leg.enters:
            state = Ledger(work.ledger).get_state(leg.enters)
            if state is None:
                raise FileNotFoundError(f"state {leg.enters} is gone from {work.ledger}")
            return state
        if not leg.references or leg.references[0].frame is None:
            return None
        return self.method(work).start(load_reference(work.info, leg.references[0], work.fields), work.info.colour)

    def _windows(self, work: Work, lane: Lane, leg: Leg) -> Iterator[tuple[Window, Evidence]]:
        """Windows with their evidence, in order; ``work.ahead`` of them are being decoded and matched while one is propagated."""
        spans = [Span(min(w[0], w[-1]), max(w[0], w[-1]) + 1) for w in leg.windows]
        stream = lane.decoder.windows.options(num_returns="streaming", _generator_backpressure_num_objects=work.ahead).remote(
            work.info, spans, not leg.forward, work.shot
        )
        matcher = self._next_matcher(lane)
        anchor = matcher.anchor.remote(work, leg.references)
        pending: deque[tuple[tuple[int, ...], Any, Any]] = deque()
        try:
            for part, luma in zip(leg.windows, stream, strict=False):
                frames = tuple(part)
                pending.append((frames, luma, self._next_matcher(lane).match.remote(work, frames, luma, anchor)))
                if len(pending) > work.ahead:
                    yield self._fetch(work, *pending.popleft())
            while pending:
                yield self._fetch(work, *pending.popleft())
        finally:
            # Without this a decoder that is ahead would run to the end of its span for nobody.
            ray.cancel(stream)

    def _fetch(self, work: Work, frames: tuple[int, ...], luma: Any, evidence: Any) -> tuple[Window, Evidence]:
        samples, found = ray.get([luma, evidence])
        return Window(frames, samples, work.info.colour), found

    def _next_matcher(self, lane: Lane) -> Any:
        self._turn += 1
        return lane.matchers[self._turn % len(lane.matchers)]


class Writer(Actor):
    """Puts the film's own luma beside the new chroma. It decodes the luma itself, so on the way out luma never meets a network."""

    def write(self, work: Work, segment: Segment, lane: Lane) -> Iterator[Progress | SegmentRecord]:
        """Encode a segment and commit it; yields progress, and the record last. A scout yields progress only; a streaming generator.

        Raises: whatever reading, colouring, encoding or storing raised; RayActorError when the propagator died.
        """
        began, sure, count = time.monotonic(), 0.0, 0
        if segment.scout:
            for _ in self._colours(work, segment, lane):
                pass
            return
        with tempfile.TemporaryDirectory(prefix="dvcp-") as folder:
            path = os.path.join(folder, "segment.mkv")
            encoder = SegmentWriter(path, work.info, profile_of(segment.identity.profile))
            with _of_the_film(work, segment, path), FrameReader(work.info) as reader, encoder as out:
                pictures = self._coloured(work, segment, lane, reader) if segment.coloured else _as_it_is(work, segment, reader)
                for luma, chroma, confidence in pictures:
                    out.write(luma, chroma)
                    sure, count = sure + confidence * len(luma), count + len(luma)
                    yield Progress(len(luma))
            record = SegmentRecord(
                segment.identity, count, time.monotonic() - began, environment(),
                {} if segment.through else {"confidence_mean": round(sure / max(1, count), 4)},
            )  # fmt: skip
            yield Ledger(work.ledger).commit(record, path)

    def _coloured(self, work: Work, segment: Segment, lane: Lane, reader: FrameReader) -> Iterator[Pictures]:
        damaged, none = np.array(work.info.damaged, np.int64), 1 << (work.info.colour.depth - 1)
        for span, chroma, confidence in self._colours(work, segment, lane):
            lost = np.isin(np.arange(span.first, span.stop), damaged)
            if lost.any():
                chroma = np.where(lost[:, None, None, None], chroma.dtype.type(none), chroma)
            yield reader.luma(span), chroma, confidence

    def _colours(self, work: Work, segment: Segment, lane: Lane) -> Iterator[tuple[Span, NDArray[Any], float]]:
        stream = lane.propagator.colour.options(num_returns="streaming", _generator_backpressure_num_objects=2).remote(work, segment, lane)
        try:
            for block in stream:
                yield ray.get(block)
        finally:
            ray.cancel(stream)


@contextlib.contextmanager
def _of_the_film(work: Work, segment: Segment, path: str) -> Iterator[None]:
    """What the encoder says of the file ``path``, which nobody will ever see, as an error of the film and the shot."""
    try:
        yield
    except MediaError as error:
        if error.file != path:
            raise
        frame = segment.span.first
        raise MediaError(error.message, file=work.info.url, shot=segment.shot, frame=frame, hint=error.hint) from error


def _as_it_is(work: Work, segment: Segment, reader: FrameReader) -> Iterator[Pictures]:
    """Frames that nothing is carried into: with the chroma they have, or with none."""
    step, none = work.ahead * 8, 1 << (work.info.colour.depth - 1)
    for first in range(segment.span.first, segment.span.stop, step):
        luma, chroma = reader.planes(Span(first, min(first + step, segment.span.stop)))
        yield luma, chroma if segment.through else np.full_like(chroma, none), float(segment.through)


def _crossing(method: Joining) -> Step[State]:
    """A step of the backward leg that makes no colours, only the state after each window."""

    def step(state: State | None, window: Window, evidence: Evidence) -> tuple[State, State]:
        assert state is not None
        after = method.behind(state, window, evidence)
        return after, after

    return step


def _reversed(chroma: Chroma) -> Chroma:
    return Chroma(chroma.planes[::-1], chroma.confidence[::-1])


def _block(span: Span, chroma: Chroma, colour: ColourSpec) -> tuple[Span, NDArray[Any], float]:
    return span, unit_to_chroma(chroma.planes, colour), float(chroma.confidence.mean()) / 255
