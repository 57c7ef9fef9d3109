"""Reads the GPUs of one machine from its exporter, where no Prometheus scrapes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import GpuReading
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.gateways.metrics.gpu_names import NAMES, readings_of


class LaptopEngineReader(EngineMetricsReader):
    """Reads an engine's own /metrics, and its GPUs from the exporter of this machine.

    Args:
        exporter_url: address of the exporter, without `/metrics`.
        labels_of: address of an engine -> labels with the name of its Service, with which those of its pods begin.
    """

    def __init__(
        self,
        exporter_url: str,
        labels_of: Callable[[str], Mapping[str, str]],
        now: Callable[[], float] = time.time,
        deadline_s: float = 5,
    ) -> None:
        super().__init__(deadline_s)
        self._exporter = httpx.Client(base_url=exporter_url, timeout=deadline_s, trust_env=False)
        self._labels_of = labels_of
        self._now = now

    def gpus(self, base_url: str) -> list[GpuReading]:
        service = self._labels_of(base_url)["service"]
        try:
            text = self._exporter.get("/metrics").raise_for_status().text
            families = list(text_string_to_metric_families(text))
        except (httpx.HTTPError, ValueError) as error:
            raise EngineUnavailable(
                f"The exporter of GPUs at {self._exporter.base_url} cannot be read: {error or type(error).__name__}.",
                "`genai up` starts it where NVML finds a GPU; `genai logs gpu-exporter` shows why it ended.",
            ) from error
        samples = [(s.name, s.labels, s.value) for family in families for s in family.samples if s.name in NAMES]
        ours = [sample for sample in samples if sample[1].get("pod", "").startswith(f"{service}-")]
        scraped = [(name, labels, self._now()) for name, labels, _ in ours]
        return readings_of(ours, scraped, f"{self._exporter.base_url} for pods {service}-…")
