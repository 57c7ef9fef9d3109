"""What Prometheus reads at /metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 6, 8, 10, 15, 20, 30, 60)


class AgentMetrics:
    """A registry of its own, so that several services fit into one test process."""

    def __init__(self, tool_names: frozenset[str], sessions: Callable[[], int]) -> None:
        self._tool_names = tool_names
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("agent_requests", "POST /agent by HTTP status.", ["status"], registry=registry)
        self.seconds = Histogram(
            "agent_request_seconds", "Duration of POST /agent.", buckets=LATENCY_BUCKETS, registry=registry
        )
        self.tool_calls = Counter(
            "agent_tool_calls", "Tool calls by tool and status.", ["tool", "status"], registry=registry
        )
        self.tokens = Counter("agent_tokens", "Tokens by kind.", ["kind"], registry=registry)
        self.in_flight = Gauge("agent_requests_in_flight", "Turns under way.", registry=registry)
        Gauge("agent_sessions", "Sessions in memory.", registry=registry).set_function(sessions)

    def tool_called(self, name: str, status: str) -> None:
        """Names that a model made up share one label: nobody may grow the number of series from outside."""
        self.tool_calls.labels(name if name in self._tool_names else "unknown", status).inc()

    def tokens_used(self, usage: Mapping[str, int]) -> None:
        for kind, key in (("prompt", "inputTokens"), ("completion", "outputTokens")):
            self.tokens.labels(kind).inc(usage.get(key, 0))

    def render(self) -> bytes:
        return generate_latest(self.registry)
