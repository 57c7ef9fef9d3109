"""What an engine says of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class EngineMetrics:
    """One reading, summed over the replicas of a release.

    Args:
        kv_cache_usage: largest fraction of the KV cache in use, 0 to 1.
        running, waiting: requests.
        prompt_tokens, generation_tokens, requests_finished: counters since the engine started.
        ttft_buckets: upper bound in seconds (inf included) -> cumulative count.
    """

    kv_cache_usage: float
    running: float
    waiting: float
    prompt_tokens: float
    generation_tokens: float
    requests_finished: float
    ttft_buckets: Mapping[float, float]


class Metrics(ABC):
    """Raises EngineUnavailable when the metrics cannot be read or lack what we need."""

    @abstractmethod
    def read(self, base_url: str) -> EngineMetrics:
        """One reading of the engine behind `base_url` (``http://host:port``)."""
