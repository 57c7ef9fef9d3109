"""Reads an engine's own /metrics: exact and at once, but of one replica.

Behind an address of several replicas each reading may be of another one. Use `prometheus.py` there.
"""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics
from genai_pipeline.gateways.metrics.names import (
    ALL,
    INTER_TOKEN_BUCKET,
    PREFIXES,
    PROXY_RESPONSES,
    RESPONSES,
    STARTED,
    metrics_from,
)

_WANTED = (
    *(prefix + name for prefix in PREFIXES for name in (*ALL, INTER_TOKEN_BUCKET)),
    RESPONSES,
    PROXY_RESPONSES,
    STARTED,
)


class EngineMetricsReader(Metrics):
    """Reads `<base_url>/metrics`. On Ray a replica answers there: its own figures, at once, as without Ray."""

    def __init__(self, deadline_s: float = 5) -> None:
        self._client = httpx.Client(timeout=deadline_s, trust_env=False)

    def read(self, base_url: str) -> EngineMetrics:
        address = f"{base_url.rstrip('/')}/metrics"
        try:
            response = self._client.get(address)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise EngineUnavailable(
                f"{address} cannot be read: {error or type(error).__name__}.", "Is the engine running?"
            ) from error
        return metrics_from(_samples(response.text, address), address)


def _samples(text: str, address: str) -> list[tuple[str, dict[str, str], float]]:
    # vLLM exports some 1,500 lines. Parsing all of them four times a second would slow down the load test.
    ours = "\n".join(line for line in text.splitlines() if line.startswith(_WANTED)) + "\n"
    try:
        families = list(text_string_to_metric_families(ours))
    except ValueError as error:
        raise EngineUnavailable(f"{address} is not Prometheus text: {error}.", "Is this an engine?") from error
    return [(s.name, s.labels, s.value) for family in families for s in family.samples]
