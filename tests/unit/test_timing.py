from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest

from dvcp.timing import FrameTable, Span


def test_a_span_is_half_open() -> None:
    span = Span(3, 6)
    assert len(span) == 3 and list(span) == [3, 4, 5]
    assert [k in span for k in (2, 3, 5, 6)] == [False, True, True, False]
    assert "4" not in span
    assert pickle.loads(pickle.dumps(span)) == span


def test_spans_sort_in_film_order() -> None:
    assert sorted([Span(5, 6), Span(0, 9), Span(0, 2)]) == [Span(0, 2), Span(0, 9), Span(5, 6)]


@pytest.mark.parametrize("first, stop", [(3, 3), (4, 3), (-1, 2)])
def test_empty_and_negative_spans_are_refused(first: int, stop: int) -> None:
    with pytest.raises(ValueError, match="empty or negative"):
        Span(first, stop)


def test_frames_are_found_by_their_exact_pts() -> None:
    table = FrameTable(Fraction(1, 90000), np.array([-30, 0, 3003, 9000], np.int64), 3003)
    assert len(table) == 4
    assert [table.frame_at(p) for p in (-30, 0, 3003, 9000)] == [0, 1, 2, 3]
    for missing in (-31, 1, 3002, 9001):
        with pytest.raises(KeyError):
            table.frame_at(missing)


def test_duration_and_rate_are_exact() -> None:
    ntsc = FrameTable(Fraction(1001, 30000), np.arange(100, dtype=np.int64), 1)
    assert ntsc.rate() == Fraction(30000, 1001)
    assert ntsc.duration() == 100 * Fraction(1001, 30000)
    held = FrameTable(Fraction(1, 1000), np.array([500, 540, 1000], np.int64), 500)
    assert held.duration() == 1 and held.rate() == 3
