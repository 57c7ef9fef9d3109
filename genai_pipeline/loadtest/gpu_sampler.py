"""Read the GPUs of an engine while it is under load; after a load they cool down."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import GpuReading, Metrics


class GpuSampler:
    """Reads the GPUs in its own thread until its `with` block ends.

    `readings` holds what was read. Where they come from scrapes, each scrape after `before` counts once.

    Args:
        before: what was read before the load.
    """

    def __init__(self, metrics: Metrics, base_url: str, before: Sequence[GpuReading], every_s: float = 1.0) -> None:
        self.readings: list[GpuReading] = []
        self._metrics = metrics
        self._base_url = base_url
        self._every_s = every_s
        self._seen = {r.gpu: r.at for r in before}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-sampler", daemon=True)

    def __enter__(self) -> GpuSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            try:
                found = self._metrics.gpus(self._base_url)
            except EngineUnavailable:  # the reading after the load says why
                continue
            new = [r for r in found if r.at is None or r.at != self._seen.get(r.gpu)]
            self._seen |= {r.gpu: r.at for r in new}
            self.readings += new
