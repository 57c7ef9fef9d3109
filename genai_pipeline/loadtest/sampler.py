"""Read the engine's gauges while it is under load; after a load they are zero again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from genai_pipeline.core.errors import EngineUnavailable, NotMeasured
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.loadtest.repeated_reading import RepeatedReading


@dataclass(frozen=True)
class GaugeSample:
    """The engine's gauges, `at_s` seconds after the sampler started."""

    at_s: float
    kv_cache_usage: float
    running: float
    waiting: float


class Sampler(RepeatedReading):
    """Reads the metrics.

    `samples` holds what was read. `error` says why a reading failed, `not_measured` which figure could not be true.
    """

    def __init__(self, metrics: Metrics, base_url: str, every_s: float = 0.25) -> None:
        super().__init__("engine-sampler", every_s)
        self.samples: list[GaugeSample] = []
        self.error = ""
        self.not_measured = ""
        self._metrics = metrics
        self._base_url = base_url
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        return super().__enter__()

    def _read(self) -> None:
        try:
            now = self._metrics.read(self._base_url)
            at_s = time.perf_counter() - self._started
            self.samples.append(GaugeSample(at_s, now.kv_cache_usage, now.running, now.waiting))
        except NotMeasured as problem:
            self.not_measured = str(problem)
        except EngineUnavailable as problem:
            self.error = str(problem)
