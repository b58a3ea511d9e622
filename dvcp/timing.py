"""Time as integers: frame numbers, PTS and exact timebases. Seconds as floats never appear."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Span:
    """Half-open range of frame numbers ``[first, stop)``, 0-based, in presentation order."""

    first: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.first < self.stop:
            raise ValueError(f"empty or negative span [{self.first}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.first

    def __contains__(self, frame: object) -> bool:
        return isinstance(frame, int) and self.first <= frame < self.stop

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.stop))


@dataclass(frozen=True, eq=False)
class FrameTable:
    """The clock of one video stream: the PTS of every frame, in presentation order.

    Attributes:
        timebase: seconds per PTS tick, exact.
        pts: int64 ``[N]``, strictly increasing, in ticks. Frame number k is shown at ``pts[k] * timebase``.
        last_duration: ticks the last frame is shown for (>= 1).
    """

    timebase: Fraction
    pts: NDArray[np.int64]
    last_duration: int

    def __len__(self) -> int:
        return len(self.pts)

    def __reduce__(self) -> tuple[object, ...]:
        # It goes with every segment from process to process: ten hours are 7 MB, the steps between frames next to nothing.
        return _unpacked, (self.timebase, int(self.pts[0]), self.packed, self.last_duration)

    @cached_property
    def packed(self) -> bytes:
        """The steps between frames, int64, compressed."""
        return zlib.compress(np.diff(self.pts).tobytes(), 1)

    def frame_at(self, pts: int) -> int:
        """Frame number shown at exactly ``pts``. Raises KeyError when no frame has it."""
        k = int(np.searchsorted(self.pts, pts))
        if k == len(self.pts) or int(self.pts[k]) != pts:
            raise KeyError(pts)
        return k

    def duration(self) -> Fraction:
        """Seconds from the first frame's PTS to the end of the last frame, exact."""
        return (int(self.pts[-1]) - int(self.pts[0]) + self.last_duration) * self.timebase

    def rate(self) -> Fraction:
        """Mean frames per second over the whole stream, exact (for VFR a mean, never used to place a frame)."""
        return len(self.pts) / self.duration()


def _unpacked(timebase: Fraction, first: int, packed: bytes, last_duration: int) -> FrameTable:
    steps = np.frombuffer(zlib.decompress(packed), np.int64)
    table = FrameTable(timebase, np.concatenate([[first], first + np.cumsum(steps)]).astype(np.int64), last_duration)
    table.__dict__["packed"] = packed
    return table
