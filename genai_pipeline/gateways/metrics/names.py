"""vLLM's metric names (0.26 to 0.33), as the engine exports them and as Ray does.

Ray replaces the colon and puts `ray_` first. A client that asks for OpenMetrics without UTF-8 names, as Prometheus 2
does, may get `vllm_` for `vllm:`. For every counter it may keep a deprecated series without `_total`.
Only the names below may be summed, or counters count twice. Of an engine on Ray a figure appears with the first change
of its value. So an absent one is 0, where the counters of prompts and of first tokens show that the engine is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from genai_pipeline.core.errors import EngineUnavailable, NotMeasured
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Sample

RAY = "ray_vllm_"
OWN = ("vllm:", "vllm_")
PREFIXES = (*OWN, RAY)
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
"""Answers of vLLM's API server by handler and status class, without a prefix."""
PROXY_RESPONSES = "ray_serve_num_http_requests_total"
"""Answers of Ray Serve's proxies by route and status code. It has those, too, that no replica gave."""
STARTED = "process_start_time_seconds"
"""Of an engine on Ray: when Ray started in the youngest pod. A replica that starts again begins its counters again."""
ON_RAY = (PROMPT_TOKENS, TTFT_BUCKET)
"""What an engine on Ray has exported once it answered a request."""
ASKED_FOR_BY_USERS = re.compile(r"/v\d/(?!models\b).+|/(score|rerank|classify|pooling)$")
"""Handlers of user requests: only their answers count. Source: vLLM documentation, "OpenAI-Compatible Server"."""

NAN_REMEDY = "Engines write NaN where they have nothing to divide by. See the engine's log if it stays."


def metrics_from(samples: Iterable[Sample], where: str) -> EngineMetrics:
    """Return the sum of samples over engines and replicas.

    The KV cache is that of the fullest replica, the start that of the youngest one.

    Args:
        where: the source, for errors.
    Raises:
        EngineUnavailable: a needed metric is not among the samples.
        NotMeasured: one has a value that cannot be true. A sum or a maximum would hide it.
    """
    samples = list(samples)
    values: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {TTFT_BUCKET: {}, INTER_TOKEN_BUCKET: {}}
    for exported, labels, value in samples:
        name = _plain(exported)
        _require_possible(name, value, f"{where}: {exported}")
        if name in buckets:
            bound = float(labels["le"])
            buckets[name][bound] = buckets[name].get(bound, 0.0) + value
        if name in (KV_CACHE, STARTED):
            values[name] = max(values.get(name, 0.0), value)
        elif name in ALL:
            values[name] = values.get(name, 0.0) + value
    if any(name.startswith(RAY) for name, _, _ in samples) and all(name in values for name in ON_RAY):
        values = dict.fromkeys(ALL, 0.0) | values
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
        responses=_responses(samples),
        started_at=values.get(STARTED),
    )


def _responses(samples: Sequence[Sample]) -> dict[str, float] | None:
    """Return the answers to users by class of their status, or None where nothing counts them."""
    counted = [(labels, value) for name, labels, value in samples if name in (RESPONSES, PROXY_RESPONSES)]
    found: dict[str, float] = {}
    for labels, value in counted:
        if ASKED_FOR_BY_USERS.match(labels.get("handler") or labels.get("route") or "/v1/any"):
            status = labels.get("status") or f"{labels.get('status_code', '')[:1]}xx"
            found[status] = found.get(status, 0.0) + value
    return found if counted else None


_FULL = 1.001
"""The most that a share may be, with its rounding."""
_WHOLE = (RESPONSES, PROXY_RESPONSES, STARTED)
_COUNTED = {*ALL, INTER_TOKEN_BUCKET, *_WHOLE}


def _require_possible(name: str, value: float, what: str) -> None:
    most = _FULL if name == KV_CACHE else math.inf
    if name in _COUNTED and not (math.isfinite(value) and 0 <= value <= most):
        raise NotMeasured(f"{what} is {value}, which is neither a count nor a share.", NAN_REMEDY)


def _require_all(values: Mapping[str, float], where: str) -> None:
    missing = [name for name in ALL if name not in values]
    if missing:
        raise EngineUnavailable(
            f"{where} lacks {', '.join(PREFIXES[0] + name for name in missing)}.",
            "Serve with vLLM 0.26 or later and without --disable-log-stats. On Ray they appear with the first answer.",
        )


def _plain(exported: str) -> str:
    """Return the name without its prefix, or an empty text for a name that is not vLLM's."""
    if exported in _WHOLE:
        return exported
    for prefix in PREFIXES:
        if exported.startswith(prefix):
            return exported.removeprefix(prefix)
    return ""
