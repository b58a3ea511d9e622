"""The Ray actors that make colour. Each call is one whole segment (or one stateless window), and its memory lives and dies inside the call.

A stage pulls from the one before it, and each is a streaming generator: the writer owns the propagator's stream, the propagator owns the
decoder's. Per-frame calls on a stateful actor were tried elsewhere and lost: a restarted actor answers them with fresh state, silently.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

import ray
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, unit_to_chroma
from dvcp.loop import blend, nearness, verbatim
from dvcp.media.reader import windows
from dvcp.methods import create
from dvcp.methods.base import Chroma, Evidence, Fusing, Joining, Method, Proposals, Window
from dvcp.methods.fields import by_fields
from dvcp.runtime.meter import Meter, Tally
from dvcp.runtime.plan import Leg, ReferenceSource, Segment
from dvcp.runtime.work import Lane, Recipe, Work, load_reference
from dvcp.store.ledger import Ledger
from dvcp.timing import Span

T = TypeVar("T")
State = dict[str, NDArray[Any]]
Step = Callable[[State | None, Window, Evidence], tuple[State, T]]


class Actor:
    """Base of all actors."""

    @cached_property
    def meter(self) -> Meter:
        """What it has done since its process began."""
        return Meter(type(self).__name__.strip("_").lower())

    def tally(self) -> Tally:
        """The same for the driver, which asks when nothing else is under way here."""
        return self.meter.tally(ray.get_runtime_context().get_worker_id())

    @ray.method(max_task_retries=-1)
    def alive(self) -> str:
        """Id of the node it is on, as soon as the actor runs: the call waits through a restart, where others fail at once."""
        return ray.get_runtime_context().get_node_id()


class _Networks(Actor):
    """The method, built on first use and kept: the one thing an actor may remember, since it never changes."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._methods: dict[Any, Method] = {}

    def method(self, recipe: Recipe) -> Method:
        recipe.secrets.apply()
        key = (recipe.method, recipe.options)
        if key not in self._methods:
            self._methods[key] = create(recipe.method, **dict(recipe.options))
            if self._threads and (torch := sys.modules.get("torch")):
                # Not imported for this: the simple methods need none of it, and it takes seconds.
                torch.set_num_threads(self._threads)
        return by_fields(self._methods[key]) if recipe.fields else self._methods[key]


class Decoder(Actor):
    """Luma of windows. Runs apart because a damaged stream can take its process down."""

    def windows(self, work: Work, spans: Sequence[Span], backward: bool) -> Iterator[Any]:
        """Native samples ``[T, H, W]`` of each span, in order; a streaming generator."""
        work.secrets.apply()
        began = time.monotonic()
        for _, luma in windows(work.info, spans, backward, work.shot):
            self.meter.add(len(luma), time.monotonic() - began)
            yield luma
            began = time.monotonic()


class Matcher(_Networks):
    """Evidence for any window of any shot: stateless, so Ray may repeat a call."""

    def anchor(self, work: Work, references: Sequence[ReferenceSource]) -> Any:
        """What matching needs of the references of one propagation."""
        return self.method(work.recipe).anchor([load_reference(work.info, r, work.fields) for r in references], work.info.colour)

    def match(self, recipe: Recipe, frames: tuple[int, ...], luma: Any, anchor: Any) -> Evidence:
        """Evidence for one window."""
        with self.meter.work(len(frames)):
            return self.method(recipe).match(Window(frames, luma, recipe.colour), anchor)


class Propagator(_Networks):
    """Carries colour through one segment in order."""

    _turn = 0

    def colour(self, work: Work, segment: Segment, lane: Lane) -> Iterator[tuple[Span, NDArray[Any], float]]:
        """Native chroma of the segment in film order, window by window, with its mean confidence in [0, 1]; a streaming generator."""
        work.secrets.apply()
        colour, work = work.info.colour, replace(work, fields=segment.fields, shot=segment.identity.shot)
        if segment.painted is not None:
            mark = segment.span.first
            yield _block(Span(mark, mark + 1), verbatim(load_reference(work.info, segment.painted, work.fields)), colour)
        legs = {leg.forward: leg for leg in segment.legs}
        method = self.method(work.recipe)
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
        method = self.method(work.recipe)
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
        for frames, chroma in self._leg(work, lane, leg, self.method(work.recipe).propagate):
            yield Span(min(frames), max(frames) + 1), chroma

    def _leg(self, work: Work, lane: Lane, leg: Leg, step: Step[T]) -> Iterator[tuple[tuple[int, ...], T]]:
        """One propagation: what ``step`` makes of each window, in propagation order. Stores the state it leaves."""
        state = self._begin(work, leg)
        for window, evidence in self._windows(work, lane, leg):
            with self.meter.work(len(window.frames)):
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
        return self.method(work.recipe).start(load_reference(work.info, leg.references[0], work.fields), work.info.colour)

    def _windows(self, work: Work, lane: Lane, leg: Leg) -> Iterator[tuple[Window, Evidence]]:
        """Windows with their evidence, in order; ``work.ahead`` of them are being decoded and matched while one is propagated."""
        spans = [Span(min(w[0], w[-1]), max(w[0], w[-1]) + 1) for w in leg.windows]
        stream = lane.decoder.windows.options(num_returns="streaming", _generator_backpressure_num_objects=work.ahead).remote(
            work, spans, not leg.forward
        )
        matcher, recipe = self._next_matcher(lane), work.recipe
        anchor = matcher.anchor.remote(work, leg.references)
        pending: deque[tuple[tuple[int, ...], Any, Any]] = deque()
        try:
            for part, luma in zip(leg.windows, stream, strict=False):
                frames = tuple(part)
                pending.append((frames, luma, self._next_matcher(lane).match.remote(recipe, frames, luma, anchor)))
                if len(pending) > work.ahead:
                    yield self._fetch(work, lane, len(pending), *pending.popleft())
            while pending:
                yield self._fetch(work, lane, len(pending), *pending.popleft())
        finally:
            self.meter.waiting(0, lane.name)
            # Without this a decoder that is ahead would run to the end of its span for nobody.
            ray.cancel(stream)

    def _fetch(
        self, work: Work, lane: Lane, waiting: int, frames: tuple[int, ...], luma: Any, evidence: Any
    ) -> tuple[Window, Evidence]:
        samples, found = ray.get([luma, evidence])
        self.meter.waiting(waiting * (samples.nbytes + _size(found)), lane.name)
        return Window(frames, samples, work.info.colour), found

    def _next_matcher(self, lane: Lane) -> Any:
        self._turn += 1
        return lane.matchers[self._turn % len(lane.matchers)]


def _crossing(method: Joining) -> Step[State]:
    """A step of the backward leg that makes no colours, only the state after each window."""

    def step(state: State | None, window: Window, evidence: Evidence) -> tuple[State, State]:
        assert state is not None
        after = method.behind(state, window, evidence)
        return after, after

    return step


def _size(found: Evidence) -> int:
    return sum(array.nbytes for array in (found.planes, found.confidence, *found.arrays.values()) if array is not None)


def _reversed(chroma: Chroma) -> Chroma:
    return Chroma(chroma.planes[::-1], chroma.confidence[::-1])


def _block(span: Span, chroma: Chroma, colour: ColourSpec) -> tuple[Span, NDArray[Any], float]:
    return span, unit_to_chroma(chroma.planes, colour), float(chroma.confidence.mean()) / 255
