"""What a watched release must keep to: the gates of the model file, and what the last good release did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Record

TTFT_FLOOR_S, INTER_TOKEN_FLOOR_S, CANARY_FLOOR_S = 0.1, 0.05, 3.0
"""Below these a user notices nothing, however many times the baseline it is."""
ERROR_RATE_FLOOR = 0.02
"""A share that a gate of 0 still lets pass: with real traffic a single failure is no trend."""
CANARY_TOKENS = 8
FACT = "watch"
"""Name of the fact in a record that holds what the watch over the release saw."""


@dataclass(frozen=True)
class Limits:
    """Seconds and shares; None: nothing to compare with.

    Args:
        hold_s: how long a breach must hold. min_requests: fewer in the time looked at prove nothing.
        ttft_s, inter_token_s: so many times what the last good release did.
        canary_s: for one short completion through the stable address.
        compared_with: whose figures the baseline is; empty where there is none.
    """

    hold_s: float
    min_requests: int
    error_rate: float
    ttft_gate_s: float
    ttft_s: float | None
    inter_token_s: float | None
    canary_s: float
    kv_cache: float
    queue: float
    compared_with: str = ""


def limits_of(spec: ModelSpec, last_good: Record | None) -> Limits:
    """The limits for the release that replaced `last_good`."""
    gates, breach = spec.gates.serving, spec.rollout.breach
    facts: Mapping[str, Any] = last_good.facts if last_good else {}
    ttft, gaps = (_baseline_s(facts, name) for name in ("ttft_p95_ms", "inter_token_p95_ms"))
    gate_s = gates.ttft_p95_ms / 1e3
    times = breach.times_baseline
    whole = max(float(facts.get(FACT, {}).get("canary_s") or 0), (ttft or 0) + CANARY_TOKENS * (gaps or 0)) or gate_s
    return Limits(
        hold_s=breach.hold_s,
        min_requests=breach.min_requests,
        error_rate=max(gates.error_rate_max, ERROR_RATE_FLOOR),
        ttft_gate_s=gate_s,
        ttft_s=None if ttft is None else max(times * ttft, TTFT_FLOOR_S),
        inter_token_s=None if gaps is None else max(times * gaps, INTER_TOKEN_FLOOR_S),
        canary_s=max(times * whole, CANARY_FLOOR_S),
        kv_cache=gates.kv_cache_max,
        queue=gates.queue_max,
        compared_with=last_good.release if last_good and ttft is not None else "",
    )


def _baseline_s(facts: Mapping[str, Any], name: str) -> float | None:
    """The larger of what real traffic and the load test showed: neither is the load of now."""
    known = [facts.get(report, {}).get(name) for report in (FACT, "serving")]
    return max((float(value) / 1e3 for value in known if value), default=None)
