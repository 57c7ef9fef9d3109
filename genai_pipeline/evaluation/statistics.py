"""Compute the interval of a pass rate, and whether one release is worse than another. Exact, pure.

Written here, because scipy would be a dependency of a hundred megabytes for two formulas. The tests compare both with
published values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
WORSE_ALPHA = 0.05
"""A release is significantly worse if chance alone gives such a result with at most this probability."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a rate, within 0 and 1."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.1%} to {self.high:.1%}"


def wilson(successes: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the Wilson score interval of a binomial rate, without continuity correction.

    Unlike the normal approximation it is right for few cases and for rates of 0 and 1.

    Raises: ValueError: `total` is 0, or less than `successes`.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= successes <= total or not total:
        raise ValueError(f"{successes} of {total} is not a rate")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, shrink = successes / total, 1 + z * z / total
    middle = (rate + z * z / (2 * total)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    low = 0.0 if not successes else middle - half
    high = 1.0 if successes == total else middle + half
    return Interval(low, high)


def mcnemar_worse(lost: int, gained: int) -> float:
    """Return the one-sided exact McNemar p-value: the probability of at least `lost` losses, were both equally good.

    Only cases that one solved and the other did not count. Each of them is a loss or a gain with equal probability if
    the two releases are equally good. Without such cases the result is 1.

    Args:
        lost: cases that the other release solved and this one did not.
        gained: cases that this release solved and the other one did not.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947; exact form.
    """
    if lost < 0 or gained < 0:
        raise ValueError(f"{lost} and {gained} are not counts")
    pairs = lost + gained
    return sum(math.comb(pairs, k) for k in range(lost, pairs + 1)) / 2**pairs
