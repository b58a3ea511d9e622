from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvcp.errors import ConfigError
from dvcp.media.rates import exact_rate, frames_of, timecode_at

NTSC, DOUBLE = Fraction(30000, 1001), Fraction(60000, 1001)
RATES = st.sampled_from([(Fraction(16), ":"), (Fraction(24), ":"), (Fraction(24000, 1001), ":"), (NTSC, ":"), (NTSC, ";"), (DOUBLE, ";")])


@pytest.mark.parametrize(
    ("start", "offset", "rate", "expected"),
    [
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),
        ("00:00:59;59", 1, DOUBLE, "00:01:00;04"),
        ("00:00:59:29", 1, NTSC, "00:01:00:00"),
        ("23:59:59:23", 1, Fraction(24), "00:00:00:00"),
        ("01:00:00:00", 24 * 61 + 3, Fraction(24000, 1001), "01:01:01:03"),
        ("00:00:00:15", 1, Fraction(16), "00:00:01:00"),
    ],
)
def test_known_timecodes(start: str, offset: int, rate: Fraction, expected: str) -> None:
    assert timecode_at(start, offset, rate) == expected


@given(RATES, st.integers(0, 24 * 3600 * 16 - 1))
def test_counting_there_and_back(counting: tuple[Fraction, str], count: int) -> None:
    rate, mark = counting
    assert frames_of(timecode_at(f"00:00:00{mark}00", count, rate), rate) == count


@pytest.mark.parametrize(
    ("timecode", "rate"),
    [
        ("1:00:00:00", 24), ("01:60:00:00", 24), ("01:00:00:24", 24), ("00:01:00;00", NTSC), ("01:00:00;00", 25), ("noon", 24),
        ("24:00:00:00", 24),
    ],
)  # fmt: skip
def test_timecodes_that_do_not_exist(timecode: str, rate: Fraction) -> None:
    with pytest.raises(ConfigError, match="timecode"):
        frames_of(timecode, Fraction(rate))


@pytest.mark.parametrize(
    ("written", "exact"),
    [
        ("24", Fraction(24)), ("23.976", Fraction(24000, 1001)), ("23.98", Fraction(24000, 1001)), ("29.97", NTSC), ("59.94", DOUBLE),
        ("24000/1001", Fraction(24000, 1001)), ("16", Fraction(16)), ("16.667", Fraction(16667, 1000)), (23.9759998, Fraction(24000, 1001)),
        (18.0, Fraction(18)), ("12.5", Fraction(25, 2)),
    ],
)  # fmt: skip
def test_rates(written: str | float, exact: Fraction) -> None:
    assert exact_rate(written) == exact


@pytest.mark.parametrize("written", ["0", "-24", "fast", "1/0", ""])
def test_what_is_no_rate(written: str) -> None:
    with pytest.raises(ConfigError, match="no frame rate"):
        exact_rate(written)
