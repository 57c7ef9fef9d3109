"""The metrics at /metrics. All values of a label are known to the service, so that no caller can add series."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from genai_pipeline.agent.models.breaker import STATES, State

LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 6, 8, 10, 15, 20, 30, 60)
FIRST_BYTE_BUCKETS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30)
TOOL_BUCKETS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30)
TOKEN_KINDS: Mapping[str, str] = {
    "prompt": "inputTokens",
    "completion": "outputTokens",
    "prompt_cached": "cacheReadInputTokens",
}
"""Label -> key in a completion's usage. Cached tokens are part of the prompt's."""
OUTCOMES = ("answered", "failed", "busy", "refused", "unusable", "abandoned", "left_out")


class AgentMetrics:
    """Each instance has its own registry, so that one test process can hold several services."""

    def __init__(self, tool_names: frozenset[str], sessions: Callable[[], int]) -> None:
        self._tool_names = tool_names
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("agent_requests", "Turns by HTTP status.", ["status"], registry=registry)
        self.seconds = Histogram(
            "agent_request_seconds", "Duration of a turn's request.", buckets=LATENCY_BUCKETS, registry=registry
        )
        self.first_byte = Histogram(
            "agent_first_byte_seconds",
            "From a request for a stream to its first text.",
            buckets=FIRST_BYTE_BUCKETS,
            registry=registry,
        )
        self.tool_calls = Counter(
            "agent_tool_calls", "Tool calls by tool and status.", ["tool", "status"], registry=registry
        )
        self.tool_seconds = Histogram(
            "agent_tool_seconds", "Duration of tool calls.", ["tool"], buckets=TOOL_BUCKETS, registry=registry
        )
        self.tokens = Counter("agent_tokens", "Tokens by kind and endpoint.", ["kind", "endpoint"], registry=registry)
        self.completions = Counter(
            "agent_completions",
            f"Completions by endpoint, model that was asked, and outcome: {', '.join(OUTCOMES)}.",
            ["endpoint", "asked_model", "outcome"],
            registry=registry,
        )
        self.breakers = Gauge(
            "agent_breaker_state",
            "1 for the current state of an endpoint's circuit breaker.",
            ["endpoint", "asked_model", "state"],
            registry=registry,
        )
        self.in_flight = Gauge("agent_requests_in_flight", "Turns under way.", registry=registry)
        Gauge("agent_sessions", "Sessions in memory.", registry=registry).set_function(sessions)

    def until_first_text(self) -> Callable[[], None]:
        """Return the function to call with the first text of a stream that is asked for now."""
        began = time.perf_counter()
        return lambda: self.first_byte.observe(time.perf_counter() - began)

    def knows_tools(self, names: frozenset[str]) -> None:
        """Let these tools have their own series, too."""
        self._tool_names |= names

    def tool_called(self, name: str, status: str, seconds: float | None = None) -> None:
        """Count a call. Names that the model invented share one label."""
        tool = name if name in self._tool_names else "unknown"
        self.tool_calls.labels(tool, status).inc()
        if seconds is not None:
            self.tool_seconds.labels(tool).observe(seconds)

    def tokens_used(self, endpoint: str, usage: Mapping[str, int]) -> None:
        for kind, key in TOKEN_KINDS.items():
            if count := usage.get(key, 0):
                self.tokens.labels(kind, endpoint).inc(count)

    def completion(self, endpoint: str, model: str, outcome: str) -> None:
        """Count a completion of an endpoint. Args: outcome: one of `OUTCOMES`."""
        self.completions.labels(endpoint, model, outcome).inc()

    def breaker(self, endpoint: str, model: str, state: State) -> None:
        for one in STATES:
            self.breakers.labels(endpoint, model, one).set(one == state)

    def render(self) -> bytes:
        return generate_latest(self.registry)
