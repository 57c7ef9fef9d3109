"""The same questions to vLLM alone and to vLLM on Ray, with the demo model: both have to answer alike."""

import re

import httpx
import pytest

from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest.acceptance import accept_candidate
from tests.e2e.tiny_encoders import write_embedder
from tests.fakes.demo_engines import CPU, DEMO, NAMES, STARTS, on_ray, wait_for

pytestmark = pytest.mark.long


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name == "ray" else pytest.mark.nightly) for name in STARTS]
)
def engine(request, tmp_path_factory):
    with STARTS[request.param](tmp_path_factory.mktemp(request.param)) as engine:
        yield engine.url


def completion(url, **fields):
    asked = {"model": "m@r", "prompt": "The weather", "max_tokens": 8, "ignore_eos": True} | fields
    return httpx.post(f"{url}/v1/completions", json=asked, timeout=120, trust_env=False)


def test_the_candidates_checks_pass(engine):
    with OpenAIInference(engine, 60) as inference:
        verdicts = accept_candidate(inference, EngineMetricsReader(), "m", str(DEMO))

    assert [(v.check, v.outcome.value, v.summary) for v in verdicts if not v.passed] == []


def test_the_release_name_is_served_too_with_its_root(engine):
    cards = httpx.get(f"{engine}/v1/models", trust_env=False).json()["data"]

    assert {card["id"]: card["root"] for card in cards} == {"m": str(DEMO), "m@r": str(DEMO)}


@pytest.mark.parametrize(
    ("fields", "status", "kind"),
    [
        ({"model": "other"}, 404, "NotFoundError"),
        ({"max_tokens": 9999}, 400, "BadRequestError"),
        ({"n": "x"}, 400, "Bad Request"),
    ],
)
def test_refusals_have_vllms_form(engine, fields, status, kind):
    refused = completion(engine, **fields)

    assert refused.status_code == status
    assert refused.json()["error"].keys() == {"message", "type", "param", "code"}
    assert (refused.json()["error"]["type"], refused.json()["error"]["code"]) == (kind, status)


def test_a_stream_comes_token_by_token(engine):
    asked = {"model": "m", "prompt": "The weather", "max_tokens": 100, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{engine}/v1/completions", json=asked, timeout=120, trust_env=False) as answer:
        pieces = [piece.count(b"data:") for piece in answer.iter_raw()]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert sum(pieces) >= 90
    assert len(pieces) >= 80


def test_what_a_client_leaves_is_not_generated_to_its_end(engine):
    asked = {"model": "m", "prompt": "The weather", "max_tokens": 1900, "ignore_eos": True, "stream": True}
    with httpx.stream("POST", f"{engine}/v1/completions", json=asked, timeout=120, trust_env=False) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        wait_for(lambda: EngineMetricsReader().read(engine).running == 1, 15)
        before = EngineMetricsReader().read(engine)

    wait_for(lambda: EngineMetricsReader().read(engine).running == 0, 15)
    after = EngineMetricsReader().read(engine)

    assert after.generation_tokens - before.generation_tokens < 1000


def test_answers_are_counted_by_their_status(engine):
    before = EngineMetricsReader().read(engine).responses or {}
    completion(engine)
    completion(engine, model="other")
    after = EngineMetricsReader().read(engine).responses or {}

    assert {status: after[status] - before.get(status, 0) for status in ("2xx", "4xx")} == {"2xx": 1, "4xx": 1}


def test_a_draining_engine_closes_kept_connections(engine):
    OpenAIInference(engine).leave()

    assert completion(engine).headers["connection"] == "close"
    assert re.search('"drained": true', httpx.get(f"{engine}/drain?least=0&most=20", timeout=40, trust_env=False).text)


@pytest.mark.nightly
def test_an_engine_on_ray_embeds(tmp_path):
    write_embedder(tmp_path)
    command = [f"--model={tmp_path}", *NAMES, "--runner=pooling", *CPU]
    with on_ray(command) as engine, OpenAIInference(engine.url, 60) as inference:
        verdicts = accept_candidate(
            inference, EngineMetricsReader(), "m", str(tmp_path), Task.EMBED,
            ("expected_model_answers", "weights_from_staged_prefix"),
        )  # fmt: skip

    assert [v.summary for v in verdicts if not v.passed] == []
