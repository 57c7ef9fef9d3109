"""How sure a pass rate is, and whether one release is worse than another on the same cases. Exact, pure.

Hand-written because scipy would be a dependency of a hundred megabytes for two formulas; the tests hold both to
published values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
WORSE_ALPHA = 0.05
"""A release is significantly worse if chance alone would give so lopsided a result no more often than this."""


@dataclass(frozen=True)
class Interval:
    """Bounds of a rate, within 0 and 1."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.1%} to {self.high:.1%}"


def wilson(successes: int, total: int, confidence: float = CONFIDENCE) -> Interval:
    """The Wilson score interval of a binomial rate, without continuity correction.

    Unlike the textbook's normal one it holds for few cases and for rates at 0 and 1.

    Raises: ValueError: nothing was counted, or more successes than there were.
    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    if not 0 <= successes <= total or not total:
        raise ValueError(f"{successes} of {total} is no rate")
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, shrink = successes / total, 1 + z * z / total
    middle = (rate + z * z / (2 * total)) / shrink
    half = z / shrink * math.sqrt(rate * (1 - rate) / total + z * z / (4 * total * total))
    low = 0.0 if not successes else middle - half
    high = 1.0 if successes == total else middle + half
    return Interval(low, high)


def mcnemar_worse(lost: int, gained: int) -> float:
    """One-sided exact McNemar: how likely at least `lost` of the pairs that differ are losses, were both equally good.

    Only cases that one solved and the other did not say anything; of those each is a loss or a gain by the toss of a
    coin if the two are equally good. Without any the answer is 1: nothing speaks for worse.

    Args:
        lost: cases that the other one solved and this one did not.
        gained: the other way round.
    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947; exact form.
    """
    if lost < 0 or gained < 0:
        raise ValueError(f"{lost} and {gained} are no counts")
    pairs = lost + gained
    return sum(math.comb(pairs, k) for k in range(lost, pairs + 1)) / 2**pairs
