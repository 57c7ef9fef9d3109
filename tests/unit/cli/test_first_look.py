import json
import shlex

import httpx
import pytest

from genai_pipeline.cli.first_look import addresses, first_answer
from genai_pipeline.core.errors import NotFound
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.openai import OpenAIInference
from tests.fakes.openai_server import FakeEngine
from tests.fakes.world import FakeCluster

SOURCE = {"name": "tiny", "source": {"hub": "owner/model"}}


class OneEngine(FakeCluster):
    """A cluster in which one live model serves, and the chat page if there is one."""

    def __init__(self, engine: FakeEngine, page: str = "") -> None:
        super().__init__()
        self.known = {"tiny": engine.url} | ({"chat-ui": page} if page else {})

    def endpoint(self, service: str, port: int | None = None) -> str:
        if service not in self.known:
            raise NotFound(f"Service {service} does not exist.")
        return self.known[service]


def gateways(engine: FakeEngine, page: str = "") -> Gateways:
    return Gateways(None, None, OneEngine(engine, page), OpenAIInference, None, None)


@pytest.mark.parametrize("purpose", [{"agent": "none"}, {"task": "completion"}])
def test_a_model_that_writes_text_without_an_agent_is_asked_itself(purpose):
    spec = ModelSpec.model_validate(SOURCE | purpose)

    with FakeEngine("tiny") as engine:
        asked, answered = first_answer(gateways(engine), spec)
        (request,) = engine.requests

    assert asked.removeprefix("You:   ") in (request.get("prompt"), request.get("messages", [{}])[-1].get("content"))
    assert answered.startswith("Model: Hello from the fake engine")


@pytest.mark.parametrize(("task", "found"), [("embed", "4 numbers"), ("score", "score 0.75")])
def test_for_a_model_that_writes_none_a_request_is_shown_that_works_as_it_is(task, found):
    spec = ModelSpec.model_validate(SOURCE | {"task": task})

    with FakeEngine("tiny", runner="pooling") as engine:
        request, answer = first_answer(gateways(engine), spec)
        program, url, *_, body = shlex.split(request)
        by_hand = httpx.post(url, json=json.loads(body))

    assert program == "curl"
    assert by_hand.status_code == 200
    assert answer == f"It answers: {found}"


def test_only_addresses_that_the_model_has_are_shown():
    with FakeEngine("tiny") as engine:
        chat = addresses(gateways(engine, "http://page"), ModelSpec.model_validate(SOURCE | {"agent": "none"}))
        none_yet = addresses(gateways(engine), ModelSpec.model_validate(SOURCE | {"agent": "none"}))
        vectors = addresses(gateways(engine, "http://page"), ModelSpec.model_validate(SOURCE | {"task": "embed"}))

    assert [line.split()[0] for line in chat] == ["OpenAI", "Chat"]
    assert [line.split()[0] for line in none_yet] == [line.split()[0] for line in vectors] == ["OpenAI"]
