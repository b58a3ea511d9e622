from __future__ import annotations

from fractions import Fraction

import pytest

from dvcp.errors import ConfigError
from dvcp.media.rates import exact_rate

NTSC, DOUBLE = Fraction(30000, 1001), Fraction(60000, 1001)


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
