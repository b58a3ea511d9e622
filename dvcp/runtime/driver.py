"""Runs a plan: hands segments to lanes as the states they need appear, and tries again what a dying process lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from dvcp.errors import DvcpError, MediaError
from dvcp.runtime.actors import Lane, Progress, Work
from dvcp.runtime.plan import Segment
from dvcp.store.ledger import Ledger, SegmentRecord

log = logging.getLogger(__name__)
#: times one segment may be lost to dying processes before it is given up: a damaged stream kills its decoder every time
ATTEMPTS = 4
#: seconds the slowest method may take for a frame
SLOWEST_FRAME_S = 20


def missing(plan: Sequence[Segment], ledger: Ledger) -> list[Segment]:
    """Segments of ``plan`` still to be computed, in order: those without a record, and whatever those need the state of."""
    todo = {s.key for s in plan if not s.scout and ledger.get(s.key) is None}
    wanted = {state for s in plan if s.key in todo and not s.scout for state in s.needs}
    out: list[Segment] = []
    # Backwards, so that a needed state makes its giver needed, and the giver's own needs are seen after it. Scouts of one chain stand in
    # the order they run, forward chains too: a giver always stands before its taker.
    for segment in reversed(plan):
        gives = {state for state in segment.gives & wanted if ledger.get_state(state) is None}
        if gives or (segment.key in todo and not segment.scout):
            wanted |= segment.needs
            out.append(segment)
    return out[::-1]


def run(
    segments: Sequence[Segment],
    work: Work,
    lanes: Sequence[Lane],
    report: Callable[[Segment, Progress | SegmentRecord | None], None],
    *,
    past_damage: bool = False,
    silence_s: float = 600,
) -> list[SegmentRecord]:
    """Compute ``segments`` (from :func:`missing`).

    Args:
        report: called with progress, with a finished segment's record, and with None when a segment was lost and starts again.
        silence_s: seconds a segment may bring no frame before its actors are killed; the second time it is given up.
        past_damage: go on behind a segment whose frames cannot be read, with those that need nothing of it.

    Raises:
        DvcpError: the first error that trying again cannot mend; segments already under way are finished first, so nothing done is lost.
    """
    waiting, free = list(segments), list(lanes)
    pending_states = {state for s in segments for state in s.gives}
    running: dict[Any, tuple[Segment, Lane]] = {}
    heard: dict[Any, float] = {}
    lost: Counter[str] = Counter()
    records: list[SegmentRecord] = []
    failure: DvcpError | None = None
    while waiting or running:
        while free and waiting and (failure is None or (past_damage and isinstance(failure, MediaError))):
            ready = next((s for s in waiting if not s.needs & pending_states), None)
            if ready is None:
                break
            waiting.remove(ready)
            lane = free.pop(0)
            stream = lane.writer.write.options(num_returns="streaming").remote(work, ready, lane)
            running[stream], heard[stream] = (ready, lane), time.monotonic()
        if not running:
            break
        done: list[Any]
        done, _ = ray.wait(list(running), num_returns=1, timeout=5, fetch_local=False)
        for stream in [s for s, at in heard.items() if s not in done and time.monotonic() - at > _patience(silence_s, running[s][0])]:
            segment, lane = running[stream]
            silent = time.monotonic() - heard[stream]
            log.warning("shot %d frame %d: no sign of life for %d s; its actors are killed", segment.shot, segment.span.first, silent)
            lost[_name(segment)] += ATTEMPTS // 2 - 1
            heard[stream] = time.monotonic()
            for actor in (lane.decoder, lane.propagator, lane.writer):
                ray.kill(actor, no_restart=False)
        for stream in done:
            segment, lane = running[stream]
            heard[stream] = time.monotonic()
            try:
                item: Any = ray.get(next(stream))
            except StopIteration:
                pending_states -= segment.gives
            except RayError as error:
                mended = _cause(error)
                lost[_name(segment)] += 1
                if mended is None and lost[_name(segment)] < ATTEMPTS:
                    log.warning("shot %d frame %d: a process died; the segment starts again", segment.shot, segment.span.first)
                    _revive(lane)
                    waiting.insert(0, segment)
                    report(segment, None)
                elif failure is None:
                    failure = mended or MediaError(
                        f"lost {ATTEMPTS} times: {str(error).splitlines()[0]}", file=work.info.url, shot=segment.shot,
                        frame=segment.span.first, hint="look for a damaged stream or too little memory, then run the same command again",
                    )  # fmt: skip
            else:
                report(segment, item)
                if isinstance(item, SegmentRecord):
                    records.append(item)
                continue
            del running[stream], heard[stream]
            free.append(lane)
    if failure is not None:
        raise failure
    return records


def _patience(silence_s: float, segment: Segment) -> float:
    """A leg that runs backward brings nothing before it is whole, however slow the method."""
    return silence_s + SLOWEST_FRAME_S * len(segment.span)


def _revive(lane: Lane) -> None:
    """Wait for a lane's actors to restart: work given to them before is refused, and all attempts were once gone in a second."""
    with suppress(RayError):
        ray.get([actor.alive.remote() for actor in (lane.writer, lane.propagator, lane.decoder)], timeout=120)


def _name(segment: Segment) -> str:
    return f"{segment.key} {segment.scout}"


def _cause(error: RayError) -> DvcpError | None:
    """The error a person can mend, when one lies at the bottom; None when a process or node was lost."""
    found: BaseException | None = error
    while isinstance(found, RayTaskError):
        found = found.cause
    if isinstance(found, DvcpError):
        return found
    if isinstance(found, RayError) or found is None:
        return None
    reason = str(found).splitlines()[0] if str(found) else ""
    return DvcpError(f"{type(found).__name__}: {reason}", hint="this is a fault of dvcp: please report it")
