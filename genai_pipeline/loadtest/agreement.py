"""Do two accounts of the same load agree: the sender's and the engine's own? Pure.

A figure that only one side vouches for may come from a cache, a proxy, another model, or a client
too busy to read its own stop-watch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from genai_pipeline.core.errors import NotEnoughData
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.loadtest.histogram import histogram_quantile, increase, quantile_bounds
from genai_pipeline.loadtest.summary import Observation, quantile

_TOLERANCE = 0.02
_FASTER_THAN_US = 0.25
"""The engine's clock starts later than ours, so its quantile may not be above ours by more than rounding."""
_SLOWER_BY_FACTOR, _SLOWER_BY_S = 1.5, 0.25
"""What HTTP, the tokeniser and a busy client may add to the engine's own figure."""

Row = dict[str, Any]
"""One line of the evidence: what, ours, the engine's, agrees."""


def compare(observations: Iterable[Observation], before: EngineMetrics, after: EngineMetrics) -> list[Row]:
    """One row per figure that both sides have."""
    every = list(observations)
    answered = [o for o in every if o.ok]
    failed = len(every) - len(answered)
    return [
        _counted("finished requests", [1] * len(answered), failed, after.requests_finished - before.requests_finished),
        _counted(
            "prompt tokens", [o.prompt_tokens for o in answered], failed, after.prompt_tokens - before.prompt_tokens
        ),
        _counted(
            "generated tokens",
            [o.completion_tokens for o in answered],
            failed,
            after.generation_tokens - before.generation_tokens,
        ),
        *(_timed(q, answered, before, after) for q in (0.5, 0.95)),
    ]


def _counted(what: str, ours: list[int], failed: int, engine: float) -> Row:
    """Requests that failed for us may or may not have been finished by the engine."""
    total = sum(ours)
    each = total / len(ours) if ours else 0.0
    slack = max(each, total * _TOLERANCE)
    agrees = total > 0 and total - slack <= engine <= total + slack + failed * max(ours, default=0)
    return {"what": what, "ours": total, "engine": round(engine), "agrees": agrees}


def _timed(q: float, answered: list[Observation], before: EngineMetrics, after: EngineMetrics) -> Row:
    what = f"TTFT p{q * 100:g} (ms)"
    try:
        ours = quantile([o.ttft_s for o in answered if o.ttft_s is not None], q)
        seen = increase(before.ttft_buckets, after.ttft_buckets)
        low, high = quantile_bounds(seen, q)
    except NotEnoughData as error:
        return {"what": what, "ours": None, "engine": str(error), "agrees": False}
    shown = f"above {low * 1e3:g}"
    if math.isfinite(high):
        shown = f"{histogram_quantile(seen, q) * 1e3:.1f} ({low * 1e3:g} to {high * 1e3:g})"
    agrees = low * (1 - _FASTER_THAN_US) <= ours <= high * _SLOWER_BY_FACTOR + _SLOWER_BY_S
    return {"what": what, "ours": round(ours * 1e3, 1), "engine": shown, "agrees": agrees}
