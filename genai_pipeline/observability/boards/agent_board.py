"""Dashboard *agent*: turns, tools and completions of the agents."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.boards.panels import OURS, RATE, THIRD, Line, board, graph
from genai_pipeline.observability.series import equals, rate_of, selector

BY = ("model", "release")


def agent_board() -> Dashboard:
    """Return the dashboard."""
    return board(
        "genai-agent",
        "GenAI: agent",
        "Turns, tools and completions of the agents. The dashed red line is the gate of the model file.",
        [("Turns", _turns()), ("Tools", _tools()), ("Completions", _completions())],
    )


def _rate(name: str, *by: str) -> str:
    return rate_of(selector(name, *OURS), RATE, by)


def _quantiles(name: str, *by: str) -> list[Line]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return [Line(f"histogram_quantile({q}, {_rate(name, 'le', *by)})", f"p{q * 100:.0f} {legend}") for q in (0.5, 0.95)]


def _turns():
    busy = selector("agent_requests_in_flight", *OURS)
    held = selector("agent_sessions", *OURS)
    return [
        graph(
            "Turns",
            "reqps",
            Line(_rate("agent_requests_total", "release", "status"), "{{release}} {{status}}"),
            why="By HTTP status.",
        ),
        graph(
            "Time of a turn",
            "s",
            *_quantiles("agent_request_seconds_bucket", *BY),
            why="With its tools.",
            gate="agent_latency_p95_s",
        ),
        graph(
            "First text of a stream",
            "s",
            *_quantiles("agent_first_byte_seconds_bucket", *BY),
            why="What a reader waits for.",
            width=THIRD,
        ),
        graph(
            "Under way",
            "short",
            Line(f"sum by (release, pod) ({busy})", "{{release}} {{pod}}"),
            why="Turns now.",
            width=THIRD,
        ),
        graph(
            "Sessions",
            "short",
            Line(f"sum by (release, pod) ({held})", "{{release}} {{pod}}"),
            why="In memory.",
            width=THIRD,
        ),
    ]


def _tools():
    calls = Line(_rate("agent_tool_calls_total", "tool", "status"), "{{tool}} {{status}}")
    return [
        graph("Tool calls", "reqps", calls, why="`unknown` is a name that the model invented."),
        graph("Time of a tool", "s", *_quantiles("agent_tool_seconds_bucket", "tool"), why="Other systems."),
    ]


def _completions():
    ends = Line(_rate("agent_completions_total", "endpoint", "outcome"), "{{endpoint}} {{outcome}}")
    tokens = Line(_rate("agent_tokens_total", "endpoint", "kind"), "{{endpoint}} {{kind}}")
    broken = f"max by (endpoint, pod) ({selector('agent_breaker_state', *OURS, equals('state', 'open'))})"
    return [
        graph("Completions", "reqps", ends, why="Another endpoint than the first is a fallback.", width=THIRD),
        graph("Tokens", "short", tokens, why="Per second.", width=THIRD),
        graph(
            "Open breakers",
            "short",
            Line(broken, "{{endpoint}} {{pod}}"),
            why="1: the endpoint is left out.",
            width=THIRD,
        ),
    ]
