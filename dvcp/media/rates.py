"""SMPTE timecode and frame rates as people and file headers write them."""

from __future__ import annotations

import re
from fractions import Fraction

from dvcp.errors import ConfigError

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
#: a rate written 23.98 or stored as a 32-bit float means 24000/1001 when it is this near to it, in frames per second
_NEAR = Fraction(1, 200)


def exact_rate(value: str | float) -> Fraction:
    """Frames per second, exact: ``24``, ``24000/1001``; decimals such as 23.976 and 29.97 become their thousand-and-first.

    Raises:
        ConfigError: no number above zero.
    """
    try:
        rate = Fraction(value) if isinstance(value, str) else Fraction(value).limit_denominator(10_000)
    except (ValueError, ZeroDivisionError, OverflowError):
        rate = Fraction(0)
    if rate <= 0:
        raise ConfigError(f"{value} is no frame rate", hint="write it as 24, 16, 23.976 or 24000/1001")
    slow = rate * Fraction(1001, 1000)
    if rate.denominator not in (1, 1001) and abs(slow - round(slow)) < _NEAR:
        return Fraction(round(slow) * 1000, 1001)
    return rate


def frames_of(timecode: str, rate: Fraction) -> int:
    """Frames from 00:00:00:00 to ``timecode``; a semicolon before the frames means drop-frame.

    Raises:
        ConfigError: no timecode, or one that does not exist at this rate.
    """
    hint = "write it as 01:00:00:00, with ; before the frames for drop-frame (29.97 and 59.94 only)"
    match = _TIMECODE.fullmatch(timecode)
    if match is None:
        raise ConfigError(f"{timecode} is no timecode", hint=hint)
    hours, minutes, seconds, frames = (int(match[k]) for k in (1, 2, 3, 5))
    base, dropped = round(rate), _dropped(match[4], rate)
    if hours > 23 or minutes > 59 or seconds > 59 or frames >= base:
        raise ConfigError(f"there is no timecode {timecode} at {rate} frames per second", hint=hint)
    if dropped is None or (dropped and not seconds and frames < dropped and minutes % 10):
        raise ConfigError(f"there is no timecode {timecode} at {rate} frames per second", hint=hint)
    total = hours * 60 + minutes
    return ((total * 60) + seconds) * base + frames - dropped * (total - total // 10)


def timecode_at(start: str, offset: int, rate: Fraction) -> str:
    """The timecode ``offset`` frames after ``start``; past midnight it begins again. Raises ConfigError as :func:`frames_of`."""
    base, mark = round(rate), start[8]
    dropped = _dropped(mark, rate) or 0
    minute, ten = base * 60 - dropped, base * 600 - dropped * 9
    count = (frames_of(start, rate) + offset) % (ten * 144)
    if dropped:
        tens, rest = divmod(count, ten)
        count += dropped * 9 * tens + (dropped * ((rest - dropped) // minute) if rest >= base * 60 else 0)
    seconds, frames = divmod(count, base)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{mark}{frames:02}"


def _dropped(mark: str, rate: Fraction) -> int | None:
    """Frame numbers left out a minute; None where drop-frame does not exist."""
    if mark == ":":
        return 0
    return {Fraction(30000, 1001): 2, Fraction(60000, 1001): 4}.get(rate)
