"""Quantiles of measured values. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from genai_pipeline.core.errors import NotEnoughData


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
