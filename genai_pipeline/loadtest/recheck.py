"""Judge the live engine against its gates, by its own figures between two readings. Pure.

This is not a load test, which would disturb users. It says whether the gates were met by the requests that came.
"""

from __future__ import annotations

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.quantiles import increase, quantile_bounds, total
from genai_pipeline.core.verdict import Verdict, inconclusive, judge
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.loadtest.summary import MIN_OBSERVATIONS

CHECK = "still_within_gates"


def judge_while_asked(gates: ServingGates, before: EngineMetrics, after: EngineMetrics) -> Verdict:
    """Return the verdict `still_within_gates`: TTFT p95 between the readings, KV cache and queue at the second.

    A quantile is known only to its bucket. It fails if the whole bucket is above the gate.
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
