"""Quantiles of measured values, and of Prometheus histograms in the way of PromQL. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from genai_pipeline.core.errors import NotEnoughData

Buckets = Mapping[float, float]
"""Upper bound (inf included) -> cumulative count."""


def quantile(values: Sequence[float], q: float) -> float:
    """Return the smallest value that at least a fraction `q` of all values does not exceed (nearest rank).

    The result is always one of the measured values, because nothing is interpolated.

    Args:
        values: measured values, in any order and unit.
        q: in (0, 1].
    Returns: One of `values`.
    Raises: NotEnoughData: there are no values.
    """
    if not values:
        raise NotEnoughData(f"The {q:.0%} quantile cannot be computed without a measured value.", "Measure again.")
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def increase(before: Buckets, after: Buckets) -> dict[float, float]:
    """Return what was observed between two readings. A counter that went back was restarted and counts from zero."""
    restarted = any(after.get(bound, 0.0) < count for bound, count in before.items())
    return {bound: count - (0.0 if restarted else before.get(bound, 0.0)) for bound, count in sorted(after.items())}


def total(buckets: Buckets) -> float:
    """Return the number of observations; 0 for an empty histogram."""
    return buckets.get(math.inf, 0.0)


def quantile_bounds(buckets: Buckets, q: float) -> tuple[float, float]:
    """Return the lower and upper bound of the bucket that holds the quantile; a histogram knows no more.

    Raises: NotEnoughData: no observations.
    """
    count = total(buckets)
    if count <= 0:
        raise NotEnoughData("The histogram has no observations.")
    below = 0.0
    for bound, cumulative in sorted(buckets.items()):
        if cumulative >= q * count and cumulative > 0:
            return below, bound
        below = bound
    return below, math.inf


def histogram_quantile(buckets: Buckets, q: float) -> float:
    """Return an estimate of a quantile, linear within its bucket.

    A quantile in the last bucket, which has no upper bound, is that bucket's lower bound.

    Args:
        q: in (0, 1).
    Raises: NotEnoughData: no observations.
    Source: PromQL `histogram_quantile`.
    """
    low, high = quantile_bounds(buckets, q)
    if math.isinf(high):
        return low
    before = buckets.get(low, 0.0)
    within = buckets[high] - before
    return low + (high - low) * (q * total(buckets) - before) / within if within else high
