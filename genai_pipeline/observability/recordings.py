"""Recording rules of a model: its gates and the limits of its watch as series, and the share of timely first outputs.

A dashboard draws them as lines from these series, so one file serves every model. The objective follows from the
gate of the 95th percentile: 95 of 100 requests have their first output within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.observability.series import engine, rate_of
from genai_pipeline.rollout.watch.limits import limits_of

GATE = "genai:gate"
WATCH_LIMIT = "genai:watch_limit"
"""What a live release may do, where that is not the gate: the watch has floors."""
IN_TIME = "genai:first_output_in_time:share"
WINDOWS = ("5m", "30m", "1h", "6h")
OBJECTIVE = 0.95
FIRST_OUTPUT = "time_to_first_token_seconds"
FIRST_OUTPUT_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
"""Upper bounds of that histogram, in seconds. Source: vLLM 0.32, /metrics."""

Rule = Mapping[str, Any]


def recordings_of(spec: ModelSpec, namespace: str) -> list[Rule]:
    """Return the recording rules of one model."""
    lines = [*_lines(GATE, "gate", gates_of(spec), spec, namespace)]
    lines += _lines(WATCH_LIMIT, "limit", watch_limits_of(spec), spec, namespace)
    return [*lines, *(_in_time(spec, namespace, window) for window in WINDOWS)]


def watch_limits_of(spec: ModelSpec) -> dict[str, float]:
    """Return limit -> its value, of those that do not follow the gate alone."""
    return {"error_rate": limits_of(spec, None).error_rate}


def labels_of(spec: ModelSpec, namespace: str) -> dict[str, str]:
    """Return the labels of a model's rules. They tell the rules of two models that record one series apart."""
    return {"namespace": namespace, "model": spec.name}


def gates_of(spec: ModelSpec) -> dict[str, float]:
    """Return gate -> limit, in seconds, shares, requests or US dollars. A gate that is not set is left out."""
    limits, serving, agent = limits_of(spec, None), spec.gates.serving, spec.gates.agent
    latency_ms = serving.latency_limit_ms(spec.task)
    gates = {
        "first_output_p95_s": limits.first_gate_s,
        "latency_p95_s": latency_ms and latency_ms / 1e3,
        "error_rate_max": serving.error_rate_max,
        "queue_max": limits.queue,
        "kv_cache_max": limits.kv_cache if limits.generates else None,
        "min_tokens_per_s": serving.min_tokens_per_s if limits.generates else None,
        "usd_per_million_tokens_max": serving.usd_per_million_tokens_max,
        "agent_latency_p95_s": agent.latency_p95_s if spec.has_agent else None,
        "task_success_min": agent.task_success_min if spec.has_agent else None,
    }
    return {name: float(limit) for name, limit in gates.items() if limit is not None}


def in_time_bounds(gate_s: float) -> str:
    """Return a pattern for the label `le` of the bucket that holds the gate.

    A histogram knows a quantile only to within a bucket. Requests above this bound broke the gate for certain.
    """
    bound = next((bound for bound in FIRST_OUTPUT_BOUNDS if bound >= gate_s), None)
    if bound is None:
        return "\\\\+Inf"
    written = {str(bound), f"{bound:g}"}
    return "|".join(sorted(text.replace(".", "\\\\.") for text in written))


def _lines(record: str, label: str, limits: Mapping[str, float], spec: ModelSpec, namespace: str) -> list[Rule]:
    return [
        {"record": record, "expr": f"vector({limit:g})", "labels": {**labels_of(spec, namespace), label: name}}
        for name, limit in limits.items()
    ]


def _in_time(spec: ModelSpec, namespace: str, window: str) -> Rule:
    ours = (f'namespace="{namespace}"', f'model="{spec.name}"')
    by = ("namespace", "model", "release")
    bounds = in_time_bounds(limits_of(spec, None).first_gate_s)
    good = rate_of(engine(f"{FIRST_OUTPUT}_bucket", *ours, f'le=~"{bounds}"'), window, by)
    return {
        "record": f"{IN_TIME}{window}",
        "expr": f"{good} / {rate_of(engine(f'{FIRST_OUTPUT}_count', *ours), window, by)}",
        "labels": labels_of(spec, namespace),
    }
