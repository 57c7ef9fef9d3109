"""What a load test measured, before it is judged. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading
from genai_pipeline.loadtest.sampler import GaugeSample
from genai_pipeline.loadtest.summary import Observation, Summary, summarise


@dataclass(frozen=True)
class Measurement:
    """One load, as the sender and the engine saw it.

    Args:
        at_concurrency: the concurrency of the gates.
        observations: every measured request of all steps, without the warm-up.
        before, after: the engine's counters before and after exactly these requests; None if they could not be read.
        metrics_error: why they could not be read, or why samples are missing.
        not_measured: which figure of a sample could not be true; the peak of that figure is not known then.
        gpus_before: the GPUs before the load; None if they could not be read.
        gpus: None where there is no GPU, or where it could not be read; `gpu_error` then says why.
        same_length: every answer was forced to the same length.
    """

    at_concurrency: int
    observations: Sequence[Observation]
    before: EngineMetrics | None = None
    after: EngineMetrics | None = None
    samples: Sequence[GaugeSample] = ()
    metrics_error: str = ""
    not_measured: str = ""
    has_gpu: bool = False
    gpus_before: Sequence[GpuReading] | None = None
    gpus: Sequence[GpuReading] | None = None
    gpu_error: str = ""
    same_length: bool = True

    @property
    def summary(self) -> Summary:
        """The figures of the step at the concurrency of the gates."""
        return summarise([o for o in self.observations if o.concurrency == self.at_concurrency])

    @property
    def concurrencies(self) -> list[int]:
        return sorted({o.concurrency for o in self.observations})
