"""An engine's own /metrics, read over loopback."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from tests.fakes.openai_server import FakeEngine, Faults


@pytest.fixture(params=["vllm:", "ray_vllm_"])
def engine(request: pytest.FixtureRequest) -> Iterator[FakeEngine]:
    with FakeEngine("m", metrics_prefix=request.param) as engine:
        yield engine


def test_the_counters_move_by_what_was_asked_and_answered(engine: FakeEngine):
    reader = EngineMetricsReader()
    before = reader.read(engine.url)

    with OpenAIInference(engine.url) as inference:
        answer = inference.chat("m", [{"role": "user", "content": "Hello"}])

    after = reader.read(engine.url)
    assert after.requests_finished - before.requests_finished == 1
    assert after.prompt_tokens - before.prompt_tokens == answer.prompt_tokens
    assert after.generation_tokens - before.generation_tokens == answer.completion_tokens
    assert after.ttft_buckets[math.inf] == 1


def test_metrics_that_are_down_are_unavailable(engine: FakeEngine):
    engine.faults = Faults(metrics="down")

    with pytest.raises(EngineUnavailable, match="503"):
        EngineMetricsReader().read(engine.url)


def test_metrics_of_an_old_vllm_are_unavailable():
    with (
        FakeEngine(faults=Faults(metrics="missing")) as engine,
        pytest.raises(EngineUnavailable, match="lacks vllm:kv"),
    ):
        EngineMetricsReader().read(engine.url)


def test_a_page_that_is_not_a_metrics_page_is_unavailable(engine: FakeEngine):
    with pytest.raises(EngineUnavailable, match="404"):
        EngineMetricsReader().read(engine.url + "/nowhere")


def test_the_engine_itself_knows_nothing_of_gpus(engine: FakeEngine):
    with pytest.raises(EngineUnavailable, match="GENAI_PROMETHEUS_URL"):
        EngineMetricsReader().gpus(engine.url)
