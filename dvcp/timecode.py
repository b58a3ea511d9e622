"""SMPTE ST 12-1 timecode: labels of frames, counted from midnight; drop-frame where 30000/1001 counts as 30.

Drop-frame leaves out labels, never frames: 00 and 01 (00 to 03 at 60) of every minute but each tenth, so that labels keep up with clocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from dvcp.errors import ConfigError

_LABEL = re.compile(r"(\d\d?):(\d\d):(\d\d)([:;.,])(\d\d\d?)")
_TEN_MINUTES = 600


@dataclass(frozen=True)
class Timecode:
    """One label.

    Attributes:
        frame: frames from 00:00:00:00 to here, 0 or more.
        base: labels a second: 30 for 30000/1001.
        drop: drop-frame; only with a base of 30 or 60 (120...).
    """

    frame: int
    base: int
    drop: bool = False

    def __post_init__(self) -> None:
        if self.frame < 0 or self.base < 1 or (self.drop and self.base % 30):
            raise ValueError(f"no timecode: frame {self.frame} at {self.base} a second, drop-frame {self.drop}")

    def __str__(self) -> str:
        """``hh:mm:ss:ff``, with a semicolon before the frames in drop-frame. Hours run on behind 23: see :meth:`within_a_day`."""
        label = self.frame
        if self.drop:
            block, rest = divmod(self.frame, _frames(_TEN_MINUTES, self.base, True))
            step, minute = _skipped(self.base), _frames(60, self.base, True)
            # the first minute of ten keeps all its labels, so it is longer by those the others lack
            minutes = max(0, (rest - step) // minute)
            label += step * (9 * block + minutes)
        seconds, frames = divmod(label, self.base)
        width = len(str(self.base - 1))
        return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{';' if self.drop else ':'}{frames:0{max(2, width)}d}"

    def plus(self, frames: int) -> Timecode:
        """The label ``frames`` later. Raises ValueError before 00:00:00:00."""
        return Timecode(self.frame + frames, self.base, self.drop)

    def within_a_day(self) -> Timecode:
        """The same label as a clock of 24 hours shows it."""
        return Timecode(self.frame % day(self.base, self.drop), self.base, self.drop)


def nominal(rate: Fraction) -> int:
    """Labels a second at ``rate`` frames a second: 30 for 30000/1001."""
    return max(1, round(rate))


def drops(rate: Fraction) -> bool:
    """True where drop-frame has a meaning: 30000/1001, 60000/1001 and their multiples."""
    base = nominal(rate)
    # not exactly: a mean over times that Matroska rounded to 1 ms is a little off
    return base % 30 == 0 and abs(rate / base - Fraction(1000, 1001)) < Fraction(1, 2002)


def day(base: int, drop: bool) -> int:
    """Frames whose labels fill 24 hours."""
    return _frames(86_400, base, drop)


def count(hours: int, minutes: int, seconds: int, frames: int, base: int, drop: bool) -> int:
    """Frames from 00:00:00:00 to a label; hours may run on behind 23. Raises ValueError, with the reason, for one that does not exist."""
    if minutes > 59 or seconds > 59 or frames >= base:
        raise ValueError(f"no such timecode at {base} frames a second")
    minutes += 60 * hours
    if not drop:
        return (minutes * 60 + seconds) * base + frames
    if seconds == 0 and frames < _skipped(base) and minutes % 10:
        raise ValueError("drop-frame skips this timecode")
    return (minutes * 60 + seconds) * base + frames - _skipped(base) * (minutes - minutes // 10)


def parse(text: str, rate: Fraction) -> Timecode:
    """A label as films carry it: ``hh:mm:ss:ff``, with ``;`` (or ``.`` or ``,``) before the frames for drop-frame.

    Args:
        text: the label.
        rate: frames per second of the film, exact.

    Raises:
        ConfigError: not a label, none of this rate, or one that drop-frame skips.
    """
    found = _LABEL.fullmatch(text.strip())
    if not found:
        raise ConfigError(f"{text!r} is no timecode", hint="hh:mm:ss:ff, with ; before the frames for drop-frame")
    base, drop = nominal(rate), found[4] != ":"
    if drop and not drops(rate):
        raise ConfigError(f"{text} is drop-frame, which {rate} frames a second do not have", hint="write it with colons")
    hours, minutes, seconds, frames = (int(found[k]) for k in (1, 2, 3, 5))
    try:
        if hours > 23:
            raise ValueError("a day has 24 hours")
        return Timecode(count(hours, minutes, seconds, frames, base, drop), base, drop)
    except ValueError as error:
        raise ConfigError(f"{text}: {error}", hint="is it of another film?") from None


def later(start: str, frames: int, rate: Fraction) -> str:
    """The label ``frames`` after ``start``, drop-frame where that is, past midnight from 00 again. Raises ConfigError as :func:`parse`."""
    return str(parse(start, rate).plus(frames).within_a_day())


def _skipped(base: int) -> int:
    """Labels left out at the start of a minute."""
    return base // 15


def _frames(seconds: int, base: int, drop: bool) -> int:
    """Frames of so many labelled seconds; with ``drop`` a whole number of ten minutes, or one minute that is not their first."""
    if not drop:
        return seconds * base
    if seconds == 60:
        return 60 * base - _skipped(base)
    return seconds // _TEN_MINUTES * (_TEN_MINUTES * base - 9 * _skipped(base))
