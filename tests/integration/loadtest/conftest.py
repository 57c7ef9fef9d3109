"""One fake engine per test, and a load short enough for a laptop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from genai_pipeline.core.gates import ServingGates
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.progress import Log
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest import acceptance, load_test
from genai_pipeline.loadtest.load_test import ServingReport, measure
from genai_pipeline.loadtest.scale_out import ScaleOutLoad
from tests.fakes.openai_server import ENDPOINTS, FakeEngine, Faults

MODEL = "weather-agent"
ROOT = "s3://genai/models/weather-agent/0123/"


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine(MODEL, ROOT) as engine:
        yield engine


EngineFor = Callable[[Task], FakeEngine]


@pytest.fixture
def engine_for() -> Iterator[EngineFor]:
    """Start an engine with the runner of a task."""
    with ExitStack() as engines:

        def start(task: Task) -> FakeEngine:
            runner = "generate" if task.generates else "pooling"
            return engines.enter_context(FakeEngine(MODEL, ROOT, runner=runner))

        yield start


GATES = ServingGates(at_concurrency=4, requests=32, ttft_p95_ms=1500, min_tokens_per_s=10)


@pytest.fixture
def report_of(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServingReport]:
    """Measure the engine with these faults; enough time for some samples, and no more."""
    monkeypatch.setattr(load_test, "OUTPUT_TOKENS", 8)
    monkeypatch.setattr(load_test, "_SETTLE_S", 0.3)
    monkeypatch.setattr(load_test, "POOLED_LOAD_S", 0.0)

    def run(
        gates: ServingGates = GATES,
        request_deadline_s: float = 20,
        deadline_s: float = 60,
        task: Task = Task.CHAT,
        gpu: Gpu | None = None,
        scale_out: ScaleOutLoad | None = None,
        on_progress: Log = lambda _: None,
        **faults: object,
    ) -> ServingReport:
        engine.endpoints = ENDPOINTS["generate" if task.generates else "pooling"]
        engine.faults = Faults(**({"ttft_s": 0.08} | faults))
        return measure(
            engine.url,
            MODEL,
            gates,
            EngineMetricsReader(),
            task,
            gpu,
            scale_out,
            on_progress,
            request_deadline_s=request_deadline_s,
            deadline_s=deadline_s,
        )

    return run


@pytest.fixture
def quick_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptance, "_COUNTERS_SETTLE_S", 0.3)
