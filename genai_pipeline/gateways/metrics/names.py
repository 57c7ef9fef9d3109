"""vLLM's metric names (0.26 to 0.33), as the engine exports them and as Ray does.

Ray replaces the colon and puts `ray_` first. For every counter it also keeps a deprecated series without `_total`.
Only the names below may be summed, or counters count twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from genai_pipeline.core.errors import EngineUnavailable, NotMeasured
from genai_pipeline.gateways.metrics.abc import EngineMetrics

PREFIXES = ("vllm:", "ray_vllm_")
KV_CACHE = "kv_cache_usage_perc"
RUNNING = "num_requests_running"
WAITING = "num_requests_waiting"
PROMPT_TOKENS = "prompt_tokens_total"
GENERATION_TOKENS = "generation_tokens_total"
FINISHED = "request_success_total"
TTFT_BUCKET = "time_to_first_token_seconds_bucket"
ALL = (KV_CACHE, RUNNING, WAITING, PROMPT_TOKENS, GENERATION_TOKENS, FINISHED, TTFT_BUCKET)
INTER_TOKEN_BUCKET = "inter_token_latency_seconds_bucket"
RESPONSES = "http_requests_total"
"""Answers of vLLM's API server by handler and status class, without a prefix. Ray does not export it."""
STARTED = "process_start_time_seconds"
ASKED_FOR_BY_USERS = re.compile(r"/v1/(?!models\b).+")
"""Handlers of user requests: only their answers count."""

NAN_REMEDY = "Engines write NaN where they have nothing to divide by. See the engine's log if it stays."

Sample = tuple[str, Mapping[str, str], float]
"""Name as exported, labels, value."""


def metrics_from(samples: Iterable[Sample], where: str) -> EngineMetrics:
    """Return the sum of samples over engines and replicas.

    The KV cache is that of the fullest replica, the start that of the youngest one.

    Args:
        where: the source, for errors.
    Raises:
        EngineUnavailable: a needed metric is not among the samples.
        NotMeasured: one has a value that cannot be true. A sum or a maximum would hide it.
    """
    values: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {TTFT_BUCKET: {}, INTER_TOKEN_BUCKET: {}}
    responses: dict[str, float] = {}
    for exported, labels, value in samples:
        name = _plain(exported)
        _require_possible(name, value, f"{where}: {exported}")
        if name in buckets:
            bound = float(labels["le"])
            buckets[name][bound] = buckets[name].get(bound, 0.0) + value
        if name == RESPONSES and ASKED_FOR_BY_USERS.match(labels.get("handler", "/v1/any")):
            status = labels.get("status", "")
            responses[status] = responses.get(status, 0.0) + value
        if name in (KV_CACHE, STARTED):
            values[name] = max(values.get(name, 0.0), value)
        elif name in ALL or name == RESPONSES:
            values[name] = values.get(name, 0.0) + value
    _require_all(values, where)
    return EngineMetrics(
        kv_cache_usage=values[KV_CACHE],
        running=values[RUNNING],
        waiting=values[WAITING],
        prompt_tokens=values[PROMPT_TOKENS],
        generation_tokens=values[GENERATION_TOKENS],
        requests_finished=values[FINISHED],
        ttft_buckets=dict(sorted(buckets[TTFT_BUCKET].items())),
        inter_token_buckets=dict(sorted(buckets[INTER_TOKEN_BUCKET].items())),
        responses=responses if RESPONSES in values else None,
        started_at=values.get(STARTED),
    )


_COUNTED = {*ALL, INTER_TOKEN_BUCKET, RESPONSES, STARTED}


def _require_possible(name: str, value: float, what: str) -> None:
    if name in _COUNTED and not (math.isfinite(value) and value >= 0):
        raise NotMeasured(f"{what} is {value}, which is neither a count nor a share.", NAN_REMEDY)


def _require_all(values: Mapping[str, float], where: str) -> None:
    missing = [name for name in ALL if name not in values]
    if missing:
        raise EngineUnavailable(
            f"{where} lacks {', '.join(PREFIXES[0] + name for name in missing)}.",
            "Serve with vLLM 0.26 or later and without --disable-log-stats; on Ray set log_engine_metrics.",
        )


def _plain(exported: str) -> str:
    """Return the name without its prefix; empty for a name that is not vLLM's."""
    if exported in (RESPONSES, STARTED):
        return exported
    for prefix in PREFIXES:
        if exported.startswith(prefix):
            return exported.removeprefix(prefix)
    return ""
