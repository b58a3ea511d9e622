"""The shot list: which frames belong to which shot, and the four files people keep it in.

Frame numbers are the truth in every format. Timecode (EDL) and rational time (OTIO) only present them, counted in frames at the
film's nominal rate from the film's own start timecode, so that nothing is lost with 30000/1001 or with a variable frame rate.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from fractions import Fraction

from dvcp import timecode
from dvcp.errors import ConfigError, ShotListError
from dvcp.shots import formats
from dvcp.store import files
from dvcp.store.secrets import redact
from dvcp.timecode import Timecode
from dvcp.timing import Span

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shot:
    """One shot.

    Attributes:
        number: 1-based, in film order.
        span: frame numbers.
        key: frame number of its exported key frame, inside ``span``.
    """

    number: int
    span: Span
    key: int | None = None


@dataclass(frozen=True)
class ShotList:
    """Every frame of a film in exactly one shot.

    Attributes:
        source: URL of the film.
        rate: frames per second, exact; presentation only.
        frames: number of frames of the film.
        shots: numbered 1, 2, 3..., contiguous, covering ``[0, frames)``.

    Raises:
        ShotListError: when they do not; names the shot and what to change.
    """

    source: str
    rate: Fraction
    frames: int
    shots: tuple[Shot, ...]

    def __post_init__(self) -> None:
        if not self.shots:
            raise ShotListError("the list holds no shot", file=self.source, hint=f"one shot from 0 to {self.frames - 1} is enough")
        expected = 0
        for number, shot in enumerate(self.shots, 1):
            if shot.number != number:
                message = f"shot number {shot.number} where {number} was expected"
                raise ShotListError(message, file=self.source, hint="number them 1, 2, 3...")
            self._check_start(shot, expected)
            if shot.key is not None and shot.key not in shot.span:
                raise ShotListError(
                    f"its key frame {shot.key} lies outside it", file=self.source, shot=number, hint="choose a frame of the shot, or none"
                )
            expected = shot.span.stop
        if expected != self.frames:
            raise ShotListError(
                f"the last shot ends with frame {expected - 1} but the film's last frame is {self.frames - 1}",
                file=self.source,
                shot=len(self.shots),
                hint=f"let it end with {self.frames - 1}, or take the list made for this film",
            )

    def _check_start(self, shot: Shot, expected: int) -> None:
        first = shot.span.first
        if first == expected:
            return
        if shot.number == 1:
            hint = "the first shot starts with frame 0"
        else:
            hint = f"end shot {shot.number - 1} with frame {first - 1}, or start shot {shot.number} with frame {expected}"
        what = "overlaps the shot before it" if first < expected else f"leaves frames {expected} to {first - 1} in no shot"
        raise ShotListError(f"starts with frame {first}, which {what}", file=self.source, shot=shot.number, hint=hint)

    def shot_at(self, frame: int) -> Shot:
        """The shot ``frame`` belongs to. Raises ShotListError beyond the film."""
        low, high = 0, len(self.shots)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.shots[middle].span.stop <= frame else (low, middle)
        if frame < 0 or low == len(self.shots):
            raise ShotListError("no such frame", file=self.source, frame=frame, hint=f"frames run from 0 to {self.frames - 1}")
        return self.shots[low]

    def digest(self) -> str:
        """sha256 (hex) of the cuts alone: equal wherever the film lies and whichever key frames were chosen."""
        text = f"{self.frames}:" + ",".join(str(shot.span.first) for shot in self.shots)
        return hashlib.sha256(text.encode()).hexdigest()


def from_cuts(source: str, rate: Fraction, frames: int, cuts: list[int]) -> ShotList:
    """Shot list of a film with a new shot starting at each of ``cuts`` (sorted, none of them 0)."""
    edges = [0, *cuts, frames]
    shots = tuple(Shot(k + 1, Span(edges[k], edges[k + 1])) for k in range(len(edges) - 1))
    return ShotList(source, rate, frames, shots)


def write_shots(shots: ShotList, url: str, start: str | None = None) -> None:
    """Write a shot list as ``.otio``, ``.edl``, ``.csv`` or ``.json``, by the extension of ``url``, replacing what was there.

    Args:
        shots: the list.
        url: where to.
        start: timecode of the film's first frame as the film carries it; ``.otio`` and ``.edl`` count from there. One that the film's rate
            cannot have (old files carry such) is logged and left out.

    Raises:
        ShotListError: unknown extension.
        StoreError: the place cannot be written.
    """
    rows = [formats.Row(shot.span.first, shot.span.stop - 1, shot.key) for shot in shots.shots]
    data = formats.of(url).encode(rows, formats.Film(redact(shots.source), shots.rate, shots.frames, _start(start, shots)))
    files.put_bytes(data, url)


def _start(text: str | None, shots: ShotList) -> Timecode | None:
    try:
        return timecode.parse(text, shots.rate) if text else None
    except ConfigError as error:
        log.warning("%s: start timecode left out: %s", shots.source, error)
        return None


def read_shots(url: str, frames: int, rate: Fraction, source: str) -> ShotList:
    """Read a shot list, perhaps edited by a person, for a film of ``frames`` frames.

    Shots are put in film order and numbered anew; a key frame that an edit left outside its shot is dropped.

    Raises:
        ShotListError: the file is missing, does not parse, or does not fit the film; names the line or shot.
        StoreError: the store cannot be reached.
    """
    parse = formats.of(url).decode
    data = files.get_bytes(url)
    if data is None:
        raise ShotListError("no such shot list", file=url, hint="check the name")
    rows = sorted(parse(data, url, formats.Film(source, rate, frames)), key=lambda row: row.first)
    shots: list[Shot] = []
    for number, row in enumerate(rows, 1):
        if not 0 <= row.first <= row.last:
            raise ShotListError(f"runs from frame {row.first} to {row.last}", file=url, shot=number, hint="first <= last, both from 0")
        span = Span(row.first, row.last + 1)
        shots.append(Shot(number, span, row.key if row.key in span else None))
    try:
        return ShotList(source, rate, frames, tuple(shots))
    except ShotListError as error:
        raise ShotListError(error.message, file=url, shot=error.shot, frame=error.frame, hint=error.hint) from None
