"""One fake engine per test, and a load short enough for a laptop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest import acceptance, load_test
from genai_pipeline.loadtest.load_test import ServingReport, measure
from tests.fakes.openai_server import FakeEngine, Faults

MODEL = "weather-agent"
ROOT = "s3://genai/models/weather-agent/0123/"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(MODEL, ROOT) as engine:
        yield engine


GATES = ServingGates(at_concurrency=4, requests=32, ttft_p95_ms=1500, min_tokens_per_s=10)


@pytest.fixture
def report_of(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServingReport]:
    """Measure the engine with these faults; enough time for some samples, and no more."""
    monkeypatch.setattr(load_test, "OUTPUT_TOKENS", 8)
    monkeypatch.setattr(load_test, "_SETTLE_S", 0.3)

    def run(
        gates: ServingGates = GATES, request_deadline_s: float = 20, deadline_s: float = 60, **faults: object
    ) -> ServingReport:
        engine.faults = Faults(**({"ttft_s": 0.08} | faults))
        return measure(
            engine.url,
            MODEL,
            gates,
            EngineMetricsReader(),
            request_deadline_s=request_deadline_s,
            deadline_s=deadline_s,
        )

    return run


@pytest.fixture
def quick_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "_COUNTERS_SETTLE_S", 0.3)
