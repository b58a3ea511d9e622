"""Frame rates as people and file headers write them."""

from __future__ import annotations

from fractions import Fraction

from dvcp.errors import ConfigError

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
