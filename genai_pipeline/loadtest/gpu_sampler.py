"""Read the GPUs of an engine while it is under load; after a load they cool down."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import GpuReading, Metrics
from genai_pipeline.loadtest.repeated_reading import RepeatedReading


class GpuSampler(RepeatedReading):
    """Reads the GPUs.

    `readings` holds what was read. Where they come from scrapes, each scrape after `before` counts once.

    Args:
        before: what was read before the load.
    """

    def __init__(self, metrics: Metrics, base_url: str, before: Sequence[GpuReading], every_s: float = 1.0) -> None:
        super().__init__("gpu-sampler", every_s, waits_first=True)
        self.readings: list[GpuReading] = []
        self._metrics = metrics
        self._base_url = base_url
        self._seen = {r.gpu: r.at for r in before}

    def _read(self) -> None:
        try:
            found = self._metrics.gpus(self._base_url)
        except EngineUnavailable:  # the reading after the load says why
            return
        new = [r for r in found if r.at is None or r.at != self._seen.get(r.gpu)]
        self._seen |= {r.gpu: r.at for r in new}
        self.readings += new
