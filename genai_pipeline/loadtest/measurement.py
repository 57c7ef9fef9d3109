"""What a load test measured, before it is judged. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.core.task import Task
from genai_pipeline.gateways.metrics.abc import EngineMetrics, GpuReading
from genai_pipeline.loadtest.sampler import GaugeSample
from genai_pipeline.loadtest.scale_out import ScaleOut
from genai_pipeline.loadtest.summary import Observation, Summary, summarise


@dataclass(frozen=True)
class Measurement:
    """One load, as the sender and the engine saw it.

    Args:
        at_concurrency: the concurrency of the gates.
        task: what was asked.
        observations: every measured request of all steps, without the warm-up.
        before, after: the engine's counters before and after exactly these requests, or None if they could not be read.
        metrics_error: why they could not be read, or why samples are missing.
        not_measured: which figure of a sample could not be true; the peak of that figure is not known then.
        has_gpu: the engine has a GPU that DCGM knows: one of NVIDIA.
        gpus_before: the GPUs before the load, or None if they could not be read.
        gpus: None where there is no GPU, or where it could not be read; `gpu_error` then says why.
        gpu_readings: the GPUs under load, each scrape once.
        same_length: every answer was forced to the same length.
        scaled: the load after it that asked for one more replica, or None without such a load.
    """

    at_concurrency: int
    observations: Sequence[Observation]
    task: Task = Task.CHAT
    before: EngineMetrics | None = None
    after: EngineMetrics | None = None
    samples: Sequence[GaugeSample] = ()
    metrics_error: str = ""
    not_measured: str = ""
    has_gpu: bool = False
    gpus_before: Sequence[GpuReading] | None = None
    gpus: Sequence[GpuReading] | None = None
    gpu_error: str = ""
    gpu_readings: Sequence[GpuReading] = ()
    same_length: bool = True
    scaled: ScaleOut | None = None

    @property
    def summary(self) -> Summary:
        """The figures of the step at the concurrency of the gates."""
        return summarise([o for o in self.observations if o.concurrency == self.at_concurrency])

    @property
    def concurrencies(self) -> list[int]:
        return sorted({o.concurrency for o in self.observations})
