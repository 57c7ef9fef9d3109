"""Reads metrics on one machine, where a Prometheus may run and need not.

An engine with one pod is asked itself: that is exact, and waits for no scrape. Of several pods only Prometheus sees
each one. The watch reads there too, as on a cluster. Without a Prometheus that is ready, every engine is asked itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import httpx

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading, Metrics, Sample

READY_WITHIN_S = 2.0
REMEMBERED_S = 5.0
"""A load test reads four times a second, and neither the pods nor Prometheus change as often."""


class MetricsOfOneMachine(Metrics):
    """Chooses for each reading.

    Args:
        url: address of the Prometheus.
        pods_behind: address of an engine -> how many pods answer there.
    """

    def __init__(
        self,
        url: str,
        engine: Metrics,
        prometheus: Metrics,
        pods_behind: Callable[[str], int],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ready_url = f"{url.rstrip('/')}/-/ready"
        self._engine = engine
        self._prometheus = prometheus
        self._pods_behind = pods_behind
        self._now = now
        self._needed: dict[str, tuple[float, bool]] = {}
        self._client = httpx.Client(timeout=READY_WITHIN_S, trust_env=False)

    def read(self, base_url: str) -> EngineMetrics:
        return (self._prometheus if self._needs_prometheus(base_url) else self._engine).read(base_url)

    def latest(self, base_url: str) -> EngineMetrics:
        if self._is_ready():
            with suppress(EngineUnavailable):  # not scraped yet, or for too long
                return self._prometheus.latest(base_url)
        return self._engine.latest(base_url)

    def query(self, promql: str) -> list[Sample]:
        return (self._prometheus if self._is_ready() else self._engine).query(promql)

    def gpus(self, base_url: str) -> list[GpuReading]:
        return (self._prometheus if self._is_ready() else self._engine).gpus(base_url)

    def _needs_prometheus(self, base_url: str) -> bool:
        until, needed = self._needed.get(base_url, (0.0, False))
        if self._now() >= until:
            needed = self._pods_behind(base_url) > 1 and self._is_ready()
            self._needed[base_url] = self._now() + REMEMBERED_S, needed
        return needed

    def _is_ready(self) -> bool:
        try:
            return self._client.get(self._ready_url).is_success
        except httpx.HTTPError:
            return False
