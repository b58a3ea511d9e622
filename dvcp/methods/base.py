"""The protocol every colour propagation method follows, split exactly where the data dependencies are.

``anchor`` once a reference; ``match`` for any window in any order (parallel); ``propagate`` in order (sequential).
A method is three functions free of Ray, files and clocks; the runtime knows nothing else of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from dvcp.colour import ColourSpec

#: native samples of a luma plane: uint8 for 8 bit, uint16 (value in the low bits) above
Samples = NDArray[np.uint8] | NDArray[np.uint16]
#: variable of processes that plan for others: the kind of device those compute on
COMPUTES_ON = "DVCP_COMPUTES_ON"


@dataclass(frozen=True)
class WindowSpec:
    """How the runtime cuts time for a method: ``frames`` per window, fixed, so that a frame is always computed in the same batch."""

    frames: int = 8


@dataclass(frozen=True, eq=False)
class Reference:
    """A colour picture on the frame grid of the film.

    Attributes:
        luma: native samples ``[H, W]``: of the film's own frame when the picture is a painted frame of the shot, of the picture otherwise.
        chroma: float32 ``[2, Hc, Wc]``, Cb and Cr centred at 0, range [-0.5, 0.5], on the film's chroma grid.
        in_shot: True when the picture is a frame of the shot it colours, so motion leads from it to its neighbours.
        digest: sha256 (hex) of what the picture was read from.
    """

    luma: Samples
    chroma: NDArray[np.float32]
    in_shot: bool
    digest: str


@dataclass(frozen=True, eq=False)
class Window:
    """Consecutive frames in propagation order (backward propagation reads the film backward).

    Attributes:
        frames: frame numbers, ``[T]``, each one step after the last (step +1 or -1).
        luma: native samples ``[T, H, W]``; may be read-only (it may lie in shared memory).
        colour: how those samples map to light; equal for the whole stream.
    """

    frames: tuple[int, ...]
    luma: Samples
    colour: ColourSpec


@dataclass(frozen=True, eq=False)
class Evidence:
    """What matching found for one window: small, so that it travels.

    Attributes:
        planes: float16 ``[T, C, h, w]``, the matched picture I^s (Y', Cb, Cr) and what else a method wants to know of it, on a grid of its
            own; None where a method matches nothing. Its Y' beside the frame's own tells the fusion how far to trust its colour.
        confidence: uint8 ``[T, h, w]``, 255 = certain, or None.
        arrays: what else a method finds without the frames before, by a name of its own: motion, features.
    """

    planes: NDArray[np.float16] | None = None
    confidence: NDArray[np.uint8] | None = None
    arrays: Mapping[str, NDArray[np.float16]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Chroma:
    """Synthesised colour of one window, in propagation order.

    Attributes:
        planes: float32 ``[T, 2, Hc, Wc]``, Cb and Cr centred at 0, on the film's chroma grid.
        confidence: uint8 ``[T, Hc, Wc]``, 255 = certain.
    """

    planes: NDArray[np.float32]
    confidence: NDArray[np.uint8]


#: what the branches of a method offer for one window before anything fuses them, on its working grid: uint8 ``[T, C, h, w]`` by name, as
#: :func:`dvcp.ops.codes.to_codes` writes them; "gray" is there always
Proposals = dict[str, NDArray[np.uint8]]


class Method(Protocol):
    """A way to carry colour along a shot. ``State`` and ``Anchor`` are the method's own; a state is a dict of numpy arrays, so that
    the runtime can store it between segments and a resumed run is bit-identical.

    Attributes:
        automatic: True when it colours a shot that has no reference at all; ``anchor`` is then called with an empty sequence, and the shot
            begins without a state and is propagated forward to its end.
        borrows: True when it takes pictures from elsewhere; False where only a painted frame of the shot itself is of use.
    """

    name: str
    window: WindowSpec
    automatic: bool
    borrows: bool

    def digest(self) -> str:
        """sha256 (hex) of everything that decides the output: method, configuration, weights."""
        ...

    def anchor(self, references: Sequence[Reference], colour: ColourSpec) -> Any:
        """What matching needs of the references of one propagation; computed once, read-only after (picklable, CPU arrays).

        Args:
            references: one painted frame, or one or more pictures from elsewhere, the best first; nothing, where the method is automatic.
        """
        ...

    def match(self, window: Window, anchor: Any) -> Evidence:
        """Evidence for one window. Stateless: any order, any process."""
        ...

    def propagate(
        self, state: dict[str, NDArray[Any]] | None, window: Window, evidence: Evidence
    ) -> tuple[dict[str, NDArray[Any]], Chroma]:
        """Colour one window, given the state after the frame before it (None where the shot begins without a painted frame)."""
        ...

    def start(self, reference: Reference, colour: ColourSpec) -> dict[str, NDArray[Any]]:
        """The state at the own frame of a reference that is a frame of the shot. From elsewhere a shot begins without one."""
        ...


@runtime_checkable
class Trained(Method, Protocol):
    """A method with weights, which it loads when they are first used."""

    def load(self) -> None:
        """Load all of them now, where a wrong file costs nothing yet.

        Raises:
            WeightsError: a file cannot be read, or holds other networks.
        """
        ...


@runtime_checkable
class Joining(Method, Protocol):
    """A method that colours the frames between two painted ones from both sides at once; others are run from each, and the two blended.

    The backward leg goes first and leaves no colours: only the states with which it enters each window are kept. Then the forward leg
    crosses the same windows with :meth:`join`. A leg with a painted frame on one side alone is propagated as ever.
    """

    def behind(self, state: dict[str, NDArray[Any]], window: Window, evidence: Evidence) -> dict[str, NDArray[Any]]:
        """Cross one window of the backward leg: the state at its last frame in propagation order, which is its first of the film.

        Args:
            state: at the frame behind the window, of :meth:`start` at the later painted frame or of this function.
            window: frames in falling order.
            evidence: of :meth:`match` with the later painted frame's anchor.
        """
        ...

    def join(
        self, state: dict[str, NDArray[Any]], window: Window, evidence: Evidence, behind: dict[str, NDArray[Any]]
    ) -> tuple[dict[str, NDArray[Any]], Chroma]:
        """Colour one window of the forward leg, as :meth:`propagate`.

        Args:
            state: at the frame before the window, of :meth:`start` at the earlier painted frame or of this function.
            window: frames in rising order.
            evidence: of :meth:`match` with the earlier painted frame's anchor.
            behind: the state with which the backward leg entered this window, at the frame just behind it.
        """
        ...


@runtime_checkable
class Fusing(Method, Protocol):
    """A method whose fusion is trained on what its branches propose."""

    def propose(
        self, state: dict[str, NDArray[Any]] | None, window: Window, evidence: Evidence
    ) -> tuple[dict[str, NDArray[Any]], Proposals]:
        """As :meth:`propagate`, up to the point where proposals would be fused into one."""
        ...
