"""Dashboard *service*: what users get, against the gates of the model file."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.alerts import FAST_BURN, SLOW_BURN
from genai_pipeline.observability.boards.panels import (
    MODEL,
    NAMESPACE,
    OURS,
    RATE,
    RELEASE,
    THIRD,
    WHOLE,
    Line,
    board,
    figure,
    graph,
    rows_of,
    spread,
)
from genai_pipeline.observability.recordings import FIRST_OUTPUT, IN_TIME, OBJECTIVE
from genai_pipeline.observability.series import (
    PODS_OF_ENGINES,
    answers,
    engine,
    failed_share,
    quantile,
    rate_of,
    selector,
)
from genai_pipeline.rollout.watch.limits import ERROR_RATE_FLOOR

BY = ("model", "release")


def service_board() -> Dashboard:
    """Return the dashboard."""
    return board(
        "genai-service",
        "GenAI: service",
        "What users get from each release. Dashed lines: red ones are gates of the model file, orange ones limits of "
        "the watch.",
        [("Now", _now()), ("Requests", _requests()), ("Objective", _objective())],
    )


def quantiles(title: str, name: str, why: str, gate: str = "", width: int = THIRD):
    """Return a graph of the median and the 95th percentile of one of vLLM's histograms."""
    lines = [
        Line(quantile(q, name, RATE, BY, *OURS), f"p{q * 100:.0f} {{{{model}}}} {{{{release}}}}") for q in (0.5, 0.95)
    ]
    return graph(title, "s", *lines, why=why, gate=gate, width=width)


def _now():
    live = selector("genai_live_release_info", NAMESPACE, MODEL)
    in_time = selector(f"{IN_TIME}1h", NAMESPACE, MODEL, RELEASE)
    tokens = rate_of(engine("generation_tokens_total", *OURS), "5m", BY)
    pods = selector("up", *OURS, 'model!=""', PODS_OF_ENGINES)
    return [
        figure("Requests", "reqps", answers("5m", BY, *OURS), "Answers to users per second, over five minutes."),
        figure(
            "Failed",
            "percentunit",
            failed_share("5m", BY, *OURS),
            "Share of answers 5xx, over five minutes.",
            bad_above=ERROR_RATE_FLOOR,
        ),
        figure("First token p95", "s", quantile(0.95, FIRST_OUTPUT, "5m", BY, *OURS), "Of the last five minutes."),
        figure("In time", "percentunit", in_time, "Share of first outputs within the gate, over an hour."),
        figure("Tokens", "short", tokens, "Generated tokens per second, over five minutes."),
        figure("Replicas", "short", f"sum by (model, release) ({pods})", "Pods of the engine that were scraped."),
        rows_of("Live", live, ["model", "release", "revision", "engine"], "What has user traffic.", WHOLE, height=4),
    ]


def _requests():
    requests = Line(answers(RATE, BY, *OURS), "{{model}} {{release}}")
    failed = Line(failed_share(RATE, BY, *OURS), "{{model}} {{release}}")
    ends = rate_of(engine("request_success_total", *OURS), RATE, ("finished_reason",))
    return [
        graph("Requests", "reqps", requests, why="Answers to users, by release: a cut-over is the crossing."),
        graph(
            "Failed",
            "percentunit",
            failed,
            why="Share of answers 5xx. The gate is about the load test. The watch goes back at its own limit.",
            gate="error_rate_max",
            watch="error_rate",
        ),
        quantiles("Time to first token", FIRST_OUTPUT, "What users wait for.", gate="first_output_p95_s"),
        quantiles("Time between tokens", "inter_token_latency_seconds", "How fluent an answer is."),
        quantiles("Whole request", "e2e_request_latency_seconds", "From arrival to the end.", gate="latency_p95_s"),
        graph("Ends", "reqps", Line(ends, "{{finished_reason}}"), why="How requests ended in the engine."),
        spread(
            "First tokens",
            "s",
            rate_of(engine(f"{FIRST_OUTPUT}_bucket", *OURS), RATE, ("le",)),
            "All times to the first token: two bands are two kinds of requests.",
        ),
    ]


def _objective():
    ours = (NAMESPACE, MODEL, RELEASE)
    shares = [Line(selector(IN_TIME + w, *ours), f"{w} {{{{model}}}} {{{{release}}}}") for w in ("5m", "1h", "6h")]
    budget = round(1 - OBJECTIVE, 6)
    burns = [
        Line(f"(1 - {selector(IN_TIME + w, *ours)}) / {budget}", f"{w} {{{{model}}}} {{{{release}}}}")
        for w in ("1h", "6h")
    ]
    return [
        graph(
            "First outputs in time",
            "percentunit",
            *shares,
            limits=[OBJECTIVE],
            why="Share within the bucket that holds the gate. The objective is that of the gate: 95 of 100.",
        ),
        graph(
            "Burn rate",
            "short",
            *burns,
            limits=[SLOW_BURN, FAST_BURN],
            why="How many times faster than allowed slow requests use up the objective. Alerts begin at 6 and 14.4.",
        ),
    ]
