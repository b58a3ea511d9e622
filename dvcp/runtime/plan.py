"""Cut a film into segments, the unit of work, of retry and of resume, each with everything needed to compute it anywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from dvcp import __version__
from dvcp.loop import Interval, intervals, leg_windows
from dvcp.media.probe import VideoInfo
from dvcp.shots.survey import Character, Kind
from dvcp.shots.timeline import ShotList
from dvcp.store.ledger import AS_IT_IS, BY_FIELDS, Ledger, SegmentIdentity
from dvcp.timing import Span

#: version of everything that decides pixels besides the method: change it and every ledger starts anew
ENGINE = f"{__version__.rsplit('.', 1)[0]}/3"


@dataclass(frozen=True)
class ReferenceSource:
    """Where a segment's reference is read from.

    Attributes:
        url: the still.
        digest: sha256 of its file.
        frame: the film's frame it is a painting of; None for a picture from another shot or another film.
    """

    url: str
    digest: str
    frame: int | None


@dataclass(frozen=True)
class Leg:
    """One propagation across a segment.

    Attributes:
        references: what it is coloured from: the painted frame it starts from, or pictures from elsewhere, the best first, or nothing.
        forward: towards later frames.
        windows: frames in propagation order.
        enters: key of the stored state to begin with, or None to begin at the painted frame, or without a state where there is none.
        leaves: key under which the state after the last window is stored, or None when nothing follows.
    """

    references: tuple[ReferenceSource, ...]
    forward: bool
    windows: tuple[range, ...]
    enters: str | None
    leaves: str | None


@dataclass(frozen=True)
class Segment:
    """A slice of a shot.

    Attributes:
        identity: its key in the ledger.
        shot: number of its shot, 1-based.
        span: frames it writes.
        painted: the reference whose own frame begins the segment, carried verbatim, or None.
        legs: propagations into the other frames: none (gray), one, or forward and backward to be blended, or joined by a method that can.
        blend: (painted frame before, after) for the weights of two legs.
        scout: True when only the state is wanted: a backward propagation has to pass here before its earlier part can be written.
        through: its frames keep the chroma they have.
        fields: its frames are woven of two fields, each to be coloured by itself.
    """

    identity: SegmentIdentity
    shot: int
    span: Span
    painted: ReferenceSource | None
    legs: tuple[Leg, ...]
    blend: tuple[int, int] | None = None
    scout: bool = False
    through: bool = False
    fields: bool = False

    @property
    def key(self) -> str:
        return self.identity.key

    @property
    def frames(self) -> int:
        """How long it takes, in frames."""
        return len(self.span)

    @property
    def coloured(self) -> bool:
        """Whether anything is carried into it."""
        return bool(self.legs) or self.painted is not None

    @property
    def needs(self) -> frozenset[str]:
        """States that must be stored before it can run."""
        return frozenset(leg.enters for leg in self.legs if leg.enters)

    @property
    def gives(self) -> frozenset[str]:
        """States it stores."""
        return frozenset(leg.leaves for leg in self.legs if leg.leaves)


@dataclass(frozen=True)
class Planner:
    """What all segments of one film have in common.

    Attributes:
        info: the film.
        source: sha256 of its content.
        method: digest of the method.
        window: frames a window.
        profile: name of the output profile.
        segment_frames: most frames of one segment.
        automatic: the method colours a shot that has no reference; else such a shot stays gray.
    """

    info: VideoInfo
    source: str
    method: str
    window: int
    profile: str
    segment_frames: int
    automatic: bool = False

    def plan(
        self,
        shots: ShotList,
        references: Mapping[int, Sequence[ReferenceSource]],
        characters: Mapping[int, Character] = MappingProxyType({}),
    ) -> list[Segment]:
        """Segments of the whole film, each behind those whose state it needs: backward propagation stands last part first.

        Args:
            references: by shot number: painted frames of the shot, or pictures from elsewhere (the best first), or nothing.
            characters: by shot number, what each shot is; one that is not named is gray.
        """
        segments: list[Segment] = []
        for shot in shots.shots:
            given, character = references.get(shot.number, ()), characters.get(shot.number, Character(Kind.GRAY))
            painted = {r.frame: r for r in given if r.frame is not None}
            if painted:
                own = [s for piece in intervals(shot.span, sorted(painted)) for s in self._interval(shot.number, shot.span, piece, painted)]
            else:
                own = list(self._chain(shot.number, shot.span, tuple(given), character.kind))
            segments += [self._by_fields(s) for s in own] if character.fields else own
        return segments

    def _by_fields(self, segment: Segment) -> Segment:
        if not segment.coloured:
            return segment
        legs = tuple(replace(leg, enters=_of_fields(leg.enters), leaves=_of_fields(leg.leaves)) for leg in segment.legs)
        return replace(segment, legs=legs, fields=True, identity=replace(segment.identity, method=segment.identity.method + BY_FIELDS))

    def _slices(self, span: Span, forward: bool, both: bool) -> list[tuple[range, ...]]:
        """Windows of a leg grouped into segments, in propagation order."""
        windows = leg_windows(span, self.window, forward=forward, both=both)
        step = max(1, self.segment_frames // self.window)
        if both and not forward:
            # Groups must be the forward ones: cut from the far end, where the remainder stands.
            ahead = [tuple(windows[::-1][k : k + step]) for k in range(0, len(windows), step)]
            return [group[::-1] for group in reversed(ahead)]
        return [tuple(windows[k : k + step]) for k in range(0, len(windows), step)]

    def _interval(self, shot: int, whole: Span, piece: Interval, painted: Mapping[int, ReferenceSource]) -> Iterator[Segment]:
        before = None if piece.before is None else painted[piece.before]
        after = None if piece.after is None else painted[piece.after]
        if piece.span is None:
            assert before is not None and before.frame is not None
            yield self._segment(shot, whole, Span(before.frame, before.frame + 1), before, ())
            return
        both = before is not None and after is not None
        forward = self._legs(whole, piece.span, (before,), True, both) if before else []
        backward = self._legs(whole, piece.span, (after,), False, both)[::-1] if after else []
        count = max(len(forward), len(backward))
        if both:
            for leg in backward[:0:-1]:
                yield self._segment(shot, whole, _covered(leg), None, (leg,), scout=True)
            # Their states stand now; the second time the backward legs only read them.
            backward = [Leg(leg.references, False, leg.windows, leg.enters, None) for leg in backward]
        for k in range(count) if before else reversed(range(count)):
            legs = tuple(legs[k] for legs in (forward, backward) if legs)
            span = _covered(legs[0])
            lead = before if k == 0 else None
            written = Span(span.first - 1, span.stop) if lead else span
            blend = (piece.before, piece.after) if piece.before is not None and piece.after is not None else None
            yield self._segment(shot, whole, written, lead, legs, blend)

    def _legs(self, whole: Span, span: Span, references: tuple[ReferenceSource, ...], forward: bool, both: bool) -> list[Leg]:
        """The chain of legs of one propagation, in propagation order."""
        groups = self._slices(span, forward, both)
        states = [self._state(whole, span, references, group[-1][-1], forward, both) for group in groups[:-1]]
        return [
            Leg(references, forward, group, enters, leaves)
            for group, enters, leaves in zip(groups, [None, *states], [*states, None], strict=True)
        ]

    def _chain(self, shot: int, span: Span, references: tuple[ReferenceSource, ...], kind: Kind) -> Iterator[Segment]:
        """A shot without a painted frame: coloured from pictures from elsewhere, or from none by an automatic method, or left as it is."""
        if not references and not (self.automatic and kind.wants_colour):
            for group in self._slices(span, True, False):
                left = self._segment(shot, span, Span(group[0][0], group[-1][-1] + 1), None, ())
                # A blank shot or a title card keeps the tint it has, if any.
                yield left if kind.wants_colour else replace(left, through=True, identity=replace(left.identity, method=AS_IT_IS))
            return
        for leg in self._legs(span, span, references, True, False):
            yield self._segment(shot, span, _covered(leg), None, (leg,))

    def _state(self, whole: Span, span: Span, references: tuple[ReferenceSource, ...], last: int, forward: bool, both: bool) -> str:
        where = (whole.first, whole.stop, span.first, span.stop, last, forward, both)
        parts = (self.source, where, *((r.frame, r.digest) for r in references), self.method, self._engine(whole))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _engine(self, shot: Span) -> str:
        """The engine's version, and which frames of the shot it could not read: another look, on a better day, may find more."""
        lost = [frame for frame in self.info.damaged if frame in shot]
        return f"{ENGINE} without {hashlib.sha256(repr(lost).encode()).hexdigest()[:12]}" if lost else ENGINE

    def _segment(
        self,
        shot: int,
        whole: Span,
        span: Span,
        painted: ReferenceSource | None,
        legs: tuple[Leg, ...],
        blend: tuple[int, int] | None = None,
        scout: bool = False,
    ) -> Segment:
        used = dict.fromkeys((r.frame, r.digest) for r in [r for leg in legs for r in leg.references] + ([painted] if painted else []))
        clock = self.info.frames
        identity = SegmentIdentity(
            source=self.source,
            shot=whole,
            span=span,
            pts_first=int(clock.pts[span.first]),
            pts_last=int(clock.pts[span.stop - 1]),
            timebase=clock.timebase,
            # painted frames in film order; of pictures from elsewhere the first counts for most, so theirs is kept
            references=tuple(sorted(used, key=lambda r: -1 if r[0] is None else r[0])),
            method=self.method,
            profile=self.profile,
            engine=self._engine(whole),
        )
        return Segment(identity, shot, span, painted, legs, blend, scout)


def missing(plan: Sequence[Segment], ledger: Ledger) -> list[Segment]:
    """Segments of ``plan`` still to be computed, in order: those without a record, and whatever those need the state of."""
    todo = {s.key for s in plan if not s.scout}
    todo -= ledger.present(todo)
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


def _of_fields(state: str | None) -> str | None:
    return state and hashlib.sha256(f"{state}{BY_FIELDS}".encode()).hexdigest()


def _covered(leg: Leg) -> Span:
    ends = (leg.windows[0][0], leg.windows[-1][-1])
    return Span(min(ends), max(ends) + 1)
