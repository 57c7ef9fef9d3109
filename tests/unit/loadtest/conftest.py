"""Measurements made by hand, to be broken one figure at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.loadtest.measurement import Measurement
from genai_pipeline.loadtest.sampler import GaugeSample
from genai_pipeline.loadtest.summary import Observation

REQUESTS = 40
TOKENS = 50
PROMPT = 20
TTFT_S = 0.1


def observation(number: int, **changes: Any) -> Observation:
    """Ten requests a second apart by 0.1 s, each with its first token after 100 ms, then one every 10 ms."""
    healthy = Observation(
        number=number,
        concurrency=4,
        started_s=number * 0.1,
        duration_s=TTFT_S + (TOKENS - 1) * 0.01,
        ttft_s=TTFT_S,
        gaps_s=(0.01,) * (TOKENS - 1),
        prompt_tokens=PROMPT,
        completion_tokens=TOKENS,
    )
    return replace(healthy, **changes)


def reading(requests: float, **changes: Any) -> EngineMetrics:
    """The engine's counters after that many requests, with every first token between 80 and 250 ms."""
    buckets = {0.08: 0.0, 0.25: requests, 0.5: requests, math.inf: requests}
    healthy = EngineMetrics(0.0, 0, 0, requests * PROMPT, requests * TOKENS, requests, buckets)
    return replace(healthy, **changes)


@pytest.fixture
def gates() -> ServingGates:
    return ServingGates(
        at_concurrency=4, requests=REQUESTS, ttft_p95_ms=200, min_tokens_per_s=100, usd_per_hour=3.6,
        usd_per_million_tokens_max=10,
    )  # fmt: skip


@pytest.fixture
def measured() -> Callable[..., Measurement]:
    """A healthy measurement, with the fields that a test wants otherwise."""

    def make(**changes: Any) -> Measurement:
        healthy = Measurement(
            at_concurrency=4,
            observations=[observation(n) for n in range(REQUESTS)],
            before=reading(7),
            after=reading(7 + REQUESTS),
            samples=[GaugeSample(n * 0.25, 0.3, 4, 0) for n in range(8)],
        )
        return replace(healthy, **changes)

    return make
