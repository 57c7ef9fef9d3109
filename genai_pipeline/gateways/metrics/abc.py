"""The interface to the metrics of engines and their GPUs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from genai_pipeline.core.errors import EngineUnavailable

NO_PROMETHEUS = "Set GENAI_PROMETHEUS_URL. On one machine, install Prometheus and run `genai up`."


@dataclass(frozen=True)
class EngineMetrics:
    """One reading, summed over the replicas of a release.

    Args:
        kv_cache_usage: largest share of the KV cache in use, 0 to 1.
        running, waiting: requests now.
        prompt_tokens, generation_tokens, requests_finished: counters since the engine started.
        ttft_buckets: upper bound in seconds (inf included) -> cumulative count of times to the first token.
        inter_token_buckets: the same for the time between two tokens, or an empty mapping where it is not exported.
        responses: status class ("2xx") -> answers to user requests, or None where the engine does not count them.
        started_at: Unix time at which the youngest replica started, or None where it is not exported.
        age_s: seconds since this was measured.
    """

    kv_cache_usage: float
    running: float
    waiting: float
    prompt_tokens: float
    generation_tokens: float
    requests_finished: float
    ttft_buckets: Mapping[float, float]
    inter_token_buckets: Mapping[float, float] = field(default_factory=dict[float, float])
    responses: Mapping[str, float] | None = None
    started_at: float | None = None
    age_s: float = 0.0


Sample = tuple[str, Mapping[str, str], float]
"""Name as exported, labels, value."""


@dataclass(frozen=True)
class GpuReading:
    """One GPU as DCGM sees it.

    Args:
        xid_error: code of the last Xid error, 0 for none.
        double_bit_errors: uncorrectable ECC errors since the driver started, or None if they are not exported.
        row_remap_failures: above 0 the GPU has no spare rows left and has to be replaced. None if they are not
            exported, as of a GPU that replaces no rows.
        at: Unix time of the scrape, by the clock of the source. None where it is of now.
        utilisation_percent, power_w, power_limit_w, sm_clock_mhz, memory_gib, temperature_c: None where they are not
            exported.
        clock_reasons: what holds the clocks back, as NVML's mask (`core/clock_reasons.py`).
    """

    gpu: str
    xid_error: int
    double_bit_errors: int | None
    row_remap_failures: int | None
    temperature_c: float | None = None
    at: float | None = None
    utilisation_percent: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    sm_clock_mhz: float | None = None
    memory_gib: float | None = None
    clock_reasons: int | None = None


class Metrics(ABC):
    """A source of metrics. Raises EngineUnavailable when they cannot be read, or when a needed metric is missing."""

    @abstractmethod
    def read(self, base_url: str) -> EngineMetrics:
        """Return one reading of the engine behind `base_url` (`http://host:port`), taken after this call began."""

    def latest(self, base_url: str) -> EngineMetrics:
        """Return the last reading without waiting for a new one; `age_s` says how old it is."""
        return self.read(base_url)

    def query(self, promql: str) -> list[Sample]:
        """Return what a Prometheus answers now. Only a source with a Prometheus can."""
        raise EngineUnavailable(f"There is no Prometheus to ask for {promql}.", NO_PROMETHEUS)

    def gpus(self, base_url: str) -> list[GpuReading]:
        """Return the GPUs that the engine runs on. Only a source with DCGM's exporter has them."""
        raise EngineUnavailable(
            f"{base_url} itself has no metrics of GPUs.",
            "Let Prometheus scrape dcgm-exporter and set GENAI_PROMETHEUS_URL.",
        )
