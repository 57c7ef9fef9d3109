"""What a load test brings home, before anybody judges it. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading
from genai_pipeline.loadtest.sampler import Sample
from genai_pipeline.loadtest.summary import Observation, Summary, summarise


@dataclass(frozen=True)
class Measurement:
    """One load, seen from both ends.

    Args:
        at_concurrency: the concurrency that the gates are about.
        observations: every measured request, of all steps; warm-up excluded.
        before, after: the engine's counters around exactly these requests; None if unreadable.
        metrics_error: why they were unreadable, or why samples are missing.
        gpus: None where there is no GPU, or where `gpu_error` says why none could be read.
        same_length: every answer was made to have the same length.
    """

    at_concurrency: int
    observations: Sequence[Observation]
    before: EngineMetrics | None = None
    after: EngineMetrics | None = None
    samples: Sequence[Sample] = ()
    metrics_error: str = ""
    has_gpu: bool = False
    gpus: Sequence[GpuReading] | None = None
    gpu_error: str = ""
    same_length: bool = True

    @property
    def summary(self) -> Summary:
        """The step that the gates are about."""
        return summarise([o for o in self.observations if o.concurrency == self.at_concurrency])

    @property
    def concurrencies(self) -> list[int]:
        return sorted({o.concurrency for o in self.observations})
