"""What an engine says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from genai_pipeline.core.errors import EngineUnavailable


@dataclass(frozen=True)
class EngineMetrics:
    """One reading, summed over the replicas of a release.

    Args:
        kv_cache_usage: largest fraction of the KV cache in use, 0 to 1.
        running, waiting: requests.
        prompt_tokens, generation_tokens, requests_finished: counters since the engine started.
        ttft_buckets: upper bound in seconds (inf included) -> cumulative count.
        inter_token_buckets: the same of the time between two tokens; empty where the engine has none.
        responses: status class ("2xx") -> answers to what users ask for; None where nobody counts.
        started_at: Unix time at which the youngest replica started; None where it does not say.
        age_s: how long ago it was so.
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


@dataclass(frozen=True)
class GpuReading:
    """One GPU as DCGM sees it.

    Args:
        xid_error: code of the last Xid error, 0 for none.
        double_bit_errors: uncorrectable ECC errors since the driver started.
        row_remap_failures: the GPU is out of spare rows and wants replacing.
        temperature_c: None where it is not exported.
    """

    gpu: str
    xid_error: int
    double_bit_errors: int
    row_remap_failures: int
    temperature_c: float | None = None


class Metrics(ABC):
    """Raises EngineUnavailable when the metrics cannot be read or lack what we need."""

    @abstractmethod
    def read(self, base_url: str) -> EngineMetrics:
        """One reading of the engine behind `base_url` (``http://host:port``)."""

    def latest(self, base_url: str) -> EngineMetrics:
        """What is known now, without waiting for more; `age_s` says how old it is."""
        return self.read(base_url)

    def gpus(self, base_url: str) -> list[GpuReading]:
        """The GPUs that the engine runs on; only a source that sees DCGM's exporter has them."""
        raise EngineUnavailable(
            f"{base_url} itself says nothing about GPUs.",
            "Let Prometheus scrape dcgm-exporter and set GENAI_PROMETHEUS_URL.",
        )
