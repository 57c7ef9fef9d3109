"""Dashboard *engine*: what vLLM does with the requests."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.boards.panels import OURS, RATE, THIRD, Line, board, graph
from genai_pipeline.observability.series import engine, mean, rate_of

BY = ("model", "release")
LEGEND = "{{model}} {{release}}"


def engine_board() -> Dashboard:
    """Return the dashboard."""
    return board(
        "genai-engine",
        "GenAI: engine",
        "What vLLM does with the requests, also on Ray. Dashed red lines are the gates of the model file.",
        [("Room", _room()), ("Time of a request", _times()), ("Tokens", _tokens())],
    )


def _room():
    cache = f"max by (release, pod) ({engine('kv_cache_usage_perc', *OURS)})"
    waiting = f"sum by ({', '.join(BY)}) ({engine('num_requests_waiting', *OURS)})"
    running = f"sum by ({', '.join(BY)}) ({engine('num_requests_running', *OURS)})"
    reasons = f"sum by (release, reason) ({engine('num_requests_waiting_by_reason', *OURS)})"
    preempted = rate_of(engine("num_preemptions_total", *OURS), RATE, BY)
    refused = rate_of(engine("admission_rejections_total", *OURS), RATE, BY)
    return [
        graph("KV cache", "percentunit", Line(cache, "{{pod}}"), why="Of each pod.", gate="kv_cache_max"),
        graph("Waiting", "short", Line(waiting, LEGEND), why="All replicas together.", gate="queue_max"),
        graph("Running", "short", Line(running, LEGEND), why="Sequences in the batch.", width=THIRD),
        graph(
            "Waiting by reason", "short", Line(reasons, "{{reason}} {{release}}"), why="Capacity: no room.", width=THIRD
        ),
        graph(
            "Preempted and refused",
            "reqps",
            Line(preempted, "preempted {{release}}"),
            Line(refused, "refused {{release}}"),
            why="Preempted requests are computed again: the KV cache is too small for the load.",
            width=THIRD,
        ),
    ]


def _times():
    phases = {"queue": "request_queue_time_seconds", "prefill": "request_prefill_time_seconds"}
    phases["decode"] = "request_decode_time_seconds"
    return [
        graph(
            title.capitalize(), "s", Line(mean(name, RATE, BY, *OURS), LEGEND), why=f"Mean {title} time.", width=THIRD
        )
        for title, name in phases.items()
    ]


def _tokens():
    generated = rate_of(engine("generation_tokens_total", *OURS), RATE, BY)
    prompt = rate_of(engine("prompt_tokens_total", *OURS), RATE, BY)
    queries = rate_of(engine("prefix_cache_queries_total", *OURS), RATE, BY)
    hits = rate_of(engine("prefix_cache_hits_total", *OURS), RATE, BY)
    lengths = [
        Line(mean(f"request_{kind}_tokens", RATE, BY, *OURS), f"{kind} {{{{release}}}}")
        for kind in ("prompt", "generation")
    ]
    return [
        graph(
            "Generated tokens",
            "short",
            Line(generated, LEGEND),
            why="Per second.",
            gate="min_tokens_per_s",
            width=THIRD,
        ),
        graph(
            "Prompt tokens", "short", Line(prompt, LEGEND), why="Per second, with those from the cache.", width=THIRD
        ),
        graph("Tokens of a request", "short", *lengths, why="Means.", width=THIRD),
        graph("Prefix cache hits", "percentunit", Line(f"{hits} / {queries}", LEGEND), why="Share of prompt tokens."),
    ]
