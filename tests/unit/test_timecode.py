"""dvcp.timecode: labels and frame numbers, both ways, with drop-frame."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvcp.errors import ConfigError
from dvcp.timecode import Timecode, day, drops, later, nominal, parse

PLAIN = [Fraction(24), Fraction(25), Fraction(30), Fraction(50), Fraction(60), Fraction(24000, 1001), Fraction(18)]
DROPPING = [Fraction(30000, 1001), Fraction(60000, 1001)]


@given(rate=st.sampled_from(PLAIN + DROPPING), frame=st.integers(0, 24 * 3600 * 60), drop=st.booleans())
def test_label_and_frame_number_are_one(rate: Fraction, frame: int, drop: bool) -> None:
    drop = drop and drops(rate)
    label = Timecode(frame % day(nominal(rate), drop), nominal(rate), drop)
    assert parse(str(label), rate) == label


@settings(max_examples=300)
@given(
    rate=st.sampled_from(DROPPING),
    hours=st.integers(0, 23),
    minutes=st.integers(0, 59),
    seconds=st.integers(0, 59),
    frames=st.integers(0, 59),
)
def test_exactly_the_labels_at_the_start_of_nine_minutes_in_ten_do_not_exist(
    rate: Fraction, hours: int, minutes: int, seconds: int, frames: int
) -> None:
    base = nominal(rate)
    frames %= base
    text = f"{hours:02d}:{minutes:02d}:{seconds:02d};{frames:02d}"
    if minutes % 10 and not seconds and frames < base // 15:
        with pytest.raises(ConfigError, match="drop-frame skips"):
            parse(text, rate)
    else:
        assert str(parse(text, rate)) == text


@pytest.mark.parametrize("rate", DROPPING)
def test_labels_follow_each_other_and_the_clock(rate: Fraction) -> None:
    """Every frame of eleven minutes has the next label that exists, and after a day the clock is 86 ms off, not 86 s."""
    base = nominal(rate)
    labels = [str(Timecode(k, base, True)) for k in range(11 * 60 * base)]
    assert len(set(labels)) == len(labels) and labels == sorted(labels)
    assert labels[60 * base - 1 : 60 * base + 1] == [f"00:00:59;{base - 1}", f"00:01:00;{base // 15:02d}"]
    assert "00:10:00;00" in labels and "00:09:00;00" not in labels
    assert abs(day(base, True) / rate - 86_400) < Fraction(1, 10)


@given(st.integers(0, 10**7), st.integers(-(10**6), 10**6))
def test_adding_frames_is_adding_frames(frame: int, more: int) -> None:
    label = Timecode(frame, 30, True)
    if frame + more < 0:
        with pytest.raises(ValueError, match="no timecode"):
            label.plus(more)
    else:
        assert label.plus(more).frame == frame + more


def test_known_labels() -> None:
    assert str(Timecode(107_892, 30, True)) == "01:00:00;00"
    assert parse("01:00:00;00", Fraction(30000, 1001)).frame == 107_892
    assert parse("10:00:00:00", Fraction(25)).frame == 900_000
    assert str(Timecode(day(25, False) + 3, 25).within_a_day()) == "00:00:00:03"
    assert str(Timecode(119, 120)) == "00:00:00:119"
    assert drops(Fraction(2997, 100)) and not drops(Fraction(30)) and not drops(Fraction(24000, 1001))


@pytest.mark.parametrize(
    ("text", "rate", "why"),
    [
        ("01:00:00;00", Fraction(25), "is drop-frame"),
        ("01:00:00;00", Fraction(30), "is drop-frame"),
        ("01:00:00:25", Fraction(25), "no such timecode"),
        ("01:60:00:00", Fraction(25), "no such timecode"),
        ("24:00:00:00", Fraction(25), "24 hours"),
        ("1 o'clock", Fraction(25), "is no timecode"),
        ("", Fraction(25), "is no timecode"),
    ],
)
def test_what_is_no_timecode_is_refused(text: str, rate: Fraction, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(text, rate)


@pytest.mark.parametrize(
    ("start", "frames", "rate", "expected"),
    [
        ("00:00:59;29", 1, Fraction(30000, 1001), "00:01:00;02"),
        ("00:00:00;00", 107892, Fraction(30000, 1001), "01:00:00;00"),
        ("00:00:59;59", 1, Fraction(60000, 1001), "00:01:00;04"),
        ("23:59:59:23", 1, Fraction(24), "00:00:00:00"),
        ("01:00:00:00", 24 * 61 + 3, Fraction(24000, 1001), "01:01:01:03"),
        ("00:00:00:15", 1, Fraction(16), "00:00:01:00"),
    ],
)
def test_later_labels(start: str, frames: int, rate: Fraction, expected: str) -> None:
    assert later(start, frames, rate) == expected
