"""Compute the limits of a watched release from the gates of its model file and the last good release. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Record

FIRST_FLOOR_S, INTER_TOKEN_FLOOR_S, CANARY_FLOOR_S = 0.1, 0.05, 3.0
"""Seconds. A user does not notice less, however many times the baseline it is."""
ERROR_RATE_FLOOR = 0.02
"""The lowest limit of the share of errors: with real traffic a single failure is not a trend."""
CANARY_TOKENS = 8


@dataclass(frozen=True)
class Limits:
    """Limits in seconds and shares. None: there is no baseline to compare with.

    Args:
        generates: whether tokens are generated. If not, nothing is said about gaps between them and the KV cache, and
            `first_*` is about the pooled result, which is the only output of a request.
        hold_s: how long a breach must hold.
        min_requests: fewer requests in the time that is judged prove nothing.
        first_gate_s: the gate of the time to the first output of a request.
        first_s, inter_token_s: a multiple of what the last good release did.
        canary_s: for one short request through the stable address.
        compared_with: the release of the baseline, or an empty text without one.
    """

    generates: bool
    hold_s: float
    min_requests: int
    error_rate: float
    first_gate_s: float
    first_s: float | None
    inter_token_s: float | None
    canary_s: float
    kv_cache: float
    queue: float
    compared_with: str = ""


def limits_of(spec: ModelSpec, last_good: Record | None) -> Limits:
    """Return the limits for the release that replaced `last_good`."""
    gates, breach = spec.gates.serving, spec.rollout.breach
    load_test = last_good.facts.serving if last_good else None
    watched = last_good.facts.watch if last_good else None
    both = [figures for figures in (load_test, watched) if figures]
    generates = spec.task.generates
    first = _baseline_s(figures.ttft_p95_ms if generates else figures.latency_p95_ms for figures in both)
    gaps = _baseline_s(figures.inter_token_p95_ms for figures in both) if generates else None
    gate_s = gates.watched_ms(spec.task) / 1e3
    times = breach.times_baseline
    canary_s = (watched.canary_s if watched else None) or 0.0
    whole = max(canary_s, (first or 0) + CANARY_TOKENS * (gaps or 0)) or gate_s
    return Limits(
        generates=generates,
        hold_s=breach.hold_s,
        min_requests=breach.min_requests,
        error_rate=max(gates.error_rate_max, ERROR_RATE_FLOOR),
        first_gate_s=gate_s,
        first_s=None if first is None else max(times * first, FIRST_FLOOR_S),
        inter_token_s=None if gaps is None else max(times * gaps, INTER_TOKEN_FLOOR_S),
        canary_s=max(times * whole, CANARY_FLOOR_S),
        kv_cache=gates.kv_cache_max,
        queue=gates.queue_max,
        compared_with=last_good.release if last_good and first is not None else "",
    )


def _baseline_s(figures_ms: Iterable[float | None]) -> float | None:
    """Return the larger one of what real traffic and the load test showed, in seconds: today's load may differ."""
    return max((value / 1e3 for value in figures_ms if value), default=None)
