"""A sample's answer with how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: quantiles of a range: in one case of five the truth lies outside
LOW, HIGH = 0.1, 0.9
DRAWS = 2000


@dataclass(frozen=True)
class Range:
    """A figure that was not counted: its 10th percentile, middle and 90th percentile."""

    low: float
    middle: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.middle <= self.high:
            raise ValueError(f"not in order: {self.low}, {self.middle}, {self.high}")

    @classmethod
    def exactly(cls, value: float) -> Range:
        return cls(value, value, value)

    def __mul__(self, factor: float) -> Range:
        return Range(self.low * factor, self.middle * factor, self.high * factor)

    def __add__(self, other: Range) -> Range:
        """Ends added to ends: as if both erred the same way, so never too narrow."""
        return Range(self.low + other.low, self.middle + other.middle, self.high + other.high)


def bootstrap_ratio(amounts: Sequence[float], exposures: Sequence[float], seed: int, prior: float = 0.0) -> Range:
    """Amount for one of exposure, of stretches drawn at random: the whole sample's ratio, its range by drawing stretches again.

    Args:
        amounts, exposures: of each stretch, such as cuts and frames; exposures not all zero.
        seed: of the draws; the same seed gives the same range.
        prior: added to the amount of every draw: a sample without a single cut does not prove that a film has none. Zero for amounts that
            every stretch has.

    Raises:
        ValueError: no stretch, or no exposure.
    """
    above, below = np.asarray(amounts, np.float64), np.asarray(exposures, np.float64)
    if not len(above) or below.sum() <= 0:
        raise ValueError("nothing was sampled")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(above), (DRAWS, len(above)))
    totals = below[drawn].sum(1)
    added = rng.gamma(prior, 1.0, DRAWS) if prior else 0.0
    ratios = (above[drawn].sum(1) + added) / np.where(totals > 0, totals, below.sum())
    middle = float((above.sum() + prior) / below.sum())
    low, high = (float(q) for q in np.quantile(ratios, (LOW, HIGH)))
    return Range(min(low, middle), middle, max(high, middle))
