"""Interlaced shots: a frame holds two fields of different moments, line by line, and no network may see them as one picture.

Every method is run twice, on the film of all upper fields and on the film of all lower ones, and their colours are woven back. Within each,
one step is one frame, on one grid of lines, so motion is what it is, and nothing has to be known of which field comes first. Chroma of
interlaced 4:2:0 is woven the same way: its even lines belong to the upper field.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec, weave
from dvcp.methods.base import Chroma, Evidence, Joining, Method, Reference, Window

State = dict[str, NDArray[Any]]
#: of the code that decides the picture
REVISION = 1


@dataclass(frozen=True, eq=False)
class FieldEvidence(Evidence):
    """What matching found for the upper and the lower fields of a window."""

    upper: Evidence = field(default_factory=Evidence)
    lower: Evidence = field(default_factory=Evidence)

    @property
    def both(self) -> tuple[Evidence, Evidence]:
        return self.upper, self.lower


class Fields:
    """A method for shots of separate fields, made of one for whole frames."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.name, self.window, self.automatic, self.borrows = method.name, method.window, method.automatic, method.borrows

    def digest(self) -> str:
        """sha256 (hex) of the method's own digest and of this code's revision."""
        return hashlib.sha256(f"{self._method.digest()} fields {REVISION}".encode()).hexdigest()

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Any:
        return tuple(self._method.anchor([_half(r, colour, parity) for r in references], colour) for parity in (0, 1))

    def match(self, window: Window, anchor: Any) -> Evidence:
        upper, lower = (self._method.match(w, a) for w, a in zip(_halves(window), anchor, strict=True))
        return FieldEvidence(upper=upper, lower=lower)

    def propagate(self, state: State | None, window: Window, evidence: Evidence) -> tuple[State, Chroma]:
        assert isinstance(evidence, FieldEvidence)
        states = (None, None) if state is None else _apart(state)
        found = [self._method.propagate(s, w, e) for s, w, e in zip(states, _halves(window), evidence.both, strict=True)]
        return _together([s for s, _ in found]), _woven([c for _, c in found], window)

    def start(self, reference: Reference, colour: ColourSpec) -> State:
        return _together([self._method.start(_half(reference, colour, parity), colour) for parity in (0, 1)])


class JoiningFields(Fields):
    """The same of a method that colours the frames between two painted ones from both sides at once."""

    _method: Joining

    def behind(self, state: State, window: Window, evidence: Evidence) -> State:
        assert isinstance(evidence, FieldEvidence)
        parts = zip(_apart(state), _halves(window), evidence.both, strict=True)
        return _together([self._method.behind(s, w, e) for s, w, e in parts])

    def join(self, state: State, window: Window, evidence: Evidence, behind: State) -> tuple[State, Chroma]:
        assert isinstance(evidence, FieldEvidence)
        parts = zip(_apart(state), _halves(window), evidence.both, _apart(behind), strict=True)
        found = [self._method.join(s, w, e, b) for s, w, e, b in parts]
        return _together([s for s, _ in found]), _woven([c for _, c in found], window)


def by_fields(method: Method) -> Method:
    """``method`` for shots whose frames are woven of two fields."""
    return JoiningFields(method) if isinstance(method, Joining) else Fields(method)


def _halves(window: Window) -> tuple[Window, Window]:
    luma: NDArray[Any] = window.luma
    upper, lower = (replace(window, luma=np.ascontiguousarray(luma[:, parity::2])) for parity in (0, 1))
    return upper, lower


def _half(reference: Reference, colour: ColourSpec, parity: int) -> Reference:
    luma: NDArray[Any] = np.ascontiguousarray(reference.luma[parity::2])
    chroma = reference.chroma[:, parity::2]
    # 243 lines of chroma of a 486-line frame: the lower field has one less than a picture of its own would.
    short = colour.chroma_shape(*luma.shape)[0] - chroma.shape[1]
    chroma = np.pad(chroma, ((0, 0), (0, max(0, short)), (0, 0)), mode="edge")
    return replace(reference, luma=luma, chroma=np.ascontiguousarray(chroma))


def _woven(parts: Sequence[Chroma], window: Window) -> Chroma:
    rows = window.colour.chroma_shape(*window.luma.shape[1:])[0]
    planes = weave(parts[0].planes, parts[1].planes, rows)
    return Chroma(planes, weave(parts[0].confidence, parts[1].confidence, rows))


def _together(states: Sequence[State]) -> State:
    return {f"{which}.{name}": array for which, state in zip(("upper", "lower"), states, strict=True) for name, array in state.items()}


def _apart(state: State) -> tuple[State, State]:
    upper, lower = ({k.partition(".")[2]: v for k, v in state.items() if k.partition(".")[0] == which} for which in ("upper", "lower"))
    return upper, lower
