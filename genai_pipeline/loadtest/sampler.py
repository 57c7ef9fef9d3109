"""Read the engine's gauges while it is under load; after a load they are zero again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from genai_pipeline.core.errors import EngineUnavailable, NotMeasured
from genai_pipeline.gateways.metrics.abc import Metrics


@dataclass(frozen=True)
class GaugeSample:
    """The engine's gauges, `at_s` seconds after the sampler started."""

    at_s: float
    kv_cache_usage: float
    running: float
    waiting: float


class Sampler:
    """Reads the metrics every `every_s` seconds in its own thread, until its `with` block ends.

    `samples` holds what was read. `error` says why a reading failed, `not_measured` which figure could not be true.
    """

    def __init__(self, metrics: Metrics, base_url: str, every_s: float = 0.25) -> None:
        self.samples: list[GaugeSample] = []
        self.error = ""
        self.not_measured = ""
        self._metrics = metrics
        self._base_url = base_url
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine-sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        started = time.perf_counter()
        while not self._stopped.is_set():
            try:
                now = self._metrics.read(self._base_url)
                at_s = time.perf_counter() - started
                self.samples.append(GaugeSample(at_s, now.kv_cache_usage, now.running, now.waiting))
            except NotMeasured as problem:
                self.not_measured = str(problem)
            except EngineUnavailable as problem:
                self.error = str(problem)
            self._stopped.wait(self._every_s)
