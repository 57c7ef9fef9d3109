"""Compare the sender's figures of a load with the engine's own. Pure.

A figure of one side alone may come from a cache, a proxy, another model, or a client that is too busy to measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.errors import NotEnoughData
from genai_pipeline.core.quantiles import Buckets, histogram_quantile, increase, quantile, quantile_bounds, total
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.loadtest.summary import Observation

_TOLERANCE = 0.02
_FASTER_THAN_US = 0.25
"""The engine's clock starts later than the sender's, so that its quantile can only be larger by rounding."""
_LATE_FACTOR, _LATE_S = 1.5, 0.25
"""HTTP and the tokeniser do not add more than this to the engine's own figure."""


@dataclass(frozen=True)
class FigureComparison:
    """One figure that both sides have.

    Args:
        agrees: the two can be about the same load.
        late: the sender saw it much later than the engine reports. This is no contradiction: the client or the
            network was slow, not the engine.
    """

    what: str
    ours: float | None
    engine: str
    agrees: bool
    late: bool = False

    def row(self) -> dict[str, Any]:
        return {"what": self.what, "ours": self.ours, "engine": self.engine, "agrees": self.agrees, "late": self.late}


def compare(
    task: Task, observations: Iterable[Observation], before: EngineMetrics, after: EngineMetrics
) -> list[FigureComparison]:
    """Return a comparison of every figure that both sides have."""
    every = list(observations)
    answered = [o for o in every if o.ok]
    failed = len(every) - len(answered)
    outputs = increase(before.ttft_buckets, after.ttft_buckets)
    finished = after.requests_finished - before.requests_finished
    # A score takes one request inside the engine, or two where query and document are pooled apart.
    ones = [2 if task is Task.SCORE and finished > 1.5 * len(every) else 1] * len(answered)
    compared = [
        _counted("finished requests", ones, failed, finished),
        _counted("first tokens" if task.generates else "pooled results", ones, failed, total(outputs)),
        _counted(
            "prompt tokens", [o.prompt_tokens for o in answered], failed, after.prompt_tokens - before.prompt_tokens
        ),
    ]
    if task.generates:
        generated = after.generation_tokens - before.generation_tokens
        compared.append(_counted("generated tokens", [o.completion_tokens for o in answered], failed, generated))
    # The only output of a pooled request is also its first one: vLLM observes it in the histogram of first tokens.
    # Source: vLLM, v1/metrics/stats.py, IterationStats.update_from_output.
    ours = [o.ttft_s if task.generates else o.duration_s for o in answered]
    named = "TTFT" if task.generates else "time of a request"
    return [*compared, *(_timed(f"{named} p{q * 100:g} (ms)", q, ours, outputs) for q in (0.5, 0.95))]


def _counted(what: str, ours: list[int], failed: int, engine: float) -> FigureComparison:
    """The engine may or may not have finished the requests that failed for the sender."""
    count = sum(ours)
    each = count / len(ours) if ours else 0.0
    slack = max(each, count * _TOLERANCE)
    agrees = count > 0 and count - slack <= engine <= count + slack + failed * max(ours, default=0)
    return FigureComparison(what, count, f"{engine:.0f}", agrees)


def _timed(what: str, q: float, seen: list[float | None], outputs: Buckets) -> FigureComparison:
    try:
        ours = quantile([seconds for seconds in seen if seconds is not None], q)
        low, high = quantile_bounds(outputs, q)
    except NotEnoughData as error:
        return FigureComparison(what, None, str(error), agrees=False)
    shown = f"above {low * 1e3:g}"
    if math.isfinite(high):
        shown = f"{histogram_quantile(outputs, q) * 1e3:.1f} ({low * 1e3:g} to {high * 1e3:g})"
    agrees = low * (1 - _FASTER_THAN_US) <= ours
    return FigureComparison(what, round(ours * 1e3, 1), shown, agrees, late=ours > high * _LATE_FACTOR + _LATE_S)
