"""The live engine against its gates, by its own figures over a while in which it was asked something. Pure.

Not a load test, which would cost users; so it may fail a gate, and proves no more than that it was kept.
"""

from __future__ import annotations

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.histogram import increase, quantile_bounds, total
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.loadtest.summary import MIN_OBSERVATIONS

CHECK = "still_within_gates"


def judge_while_asked(gates: ServingGates, before: EngineMetrics, after: EngineMetrics) -> Verdict:
    """TTFT p95 between two readings, KV cache and queue at the second.

    A quantile is known to its bucket: failed is only what lies above the gate wherever it lies within it.
    """
    seen = increase(before.ttft_buckets, after.ttft_buckets)
    requests = int(total(seen))
    if requests < MIN_OBSERVATIONS:
        return inconclusive(CHECK, f"{requests} requests between the readings; {MIN_OBSERVATIONS} are needed.")
    low, high = (bound * 1e3 for bound in quantile_bounds(seen, 0.95))
    rows = [
        {"figure": "TTFT p95", "value": f"{low:g} to {high:g} ms", "gate": f"{gates.ttft_p95_ms:g} ms"},
        {"figure": "KV cache", "value": f"{after.kv_cache_usage:.2f}", "gate": f"{gates.kv_cache_max:g}"},
        {"figure": "queue", "value": f"{after.waiting:g}", "gate": f"{gates.queue_max}"},
    ]
    kept = [low <= gates.ttft_p95_ms, after.kv_cache_usage <= gates.kv_cache_max, after.waiting <= gates.queue_max]
    said = "; ".join(f"{row['figure']} {row['value']} (gate {row['gate']})" for row in rows)
    return judge(CHECK, all(kept), f"Over {requests} requests: {said}.", figures=rows, requests=requests)
