"""The OpenAI gateway over loopback: what it asks, and what it makes of each kind of answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genai_pipeline.core.errors import EngineBroken, EngineUnavailable, Refused
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.openai import OpenAIInference
from tests.fakes.openai_server import FakeEngine, Faults

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = [{"role": "user", "content": "What is the weather in São Paulo?"}]
PROPERTIES = {"location": {"type": "string"}}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"properties": PROPERTIES}}}


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine("m", "s3://genai/models/m/0123/", aliases=("m-0123",)) as engine:
        yield engine


@pytest.fixture
def inference(engine: FakeEngine) -> Iterator[OpenAIInference]:
    with OpenAIInference(engine.url, deadline_s=5) as inference:
        yield inference


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """An address at which every POST is answered with these bytes as JSON, status 200."""
    servers: list[ThreadingHTTPServer] = []

    def start(body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_every_served_name_comes_with_where_it_was_loaded_from(inference: OpenAIInference):
    assert inference.models() == {"m": "s3://genai/models/m/0123/", "m-0123": "s3://genai/models/m/0123/"}


def test_a_completion_carries_the_engines_own_counts(inference: OpenAIInference, engine: FakeEngine):
    answer = inference.chat("m-0123", HELLO, max_tokens=4)

    assert (answer.model, answer.finish_reason, answer.completion_tokens) == ("m-0123", "length", 4)
    assert answer.text.startswith("Hello")
    assert engine.requests == [
        {"model": "m-0123", "messages": HELLO, "max_tokens": 4, "temperature": 0}
    ]  # fmt: skip


@pytest.mark.parametrize("task", Task)
def test_each_task_is_asked_on_its_endpoint_and_counts_what_the_engine_read(task: Task):
    runner = "generate" if task.generates else "pooling"
    with FakeEngine("m", runner=runner) as engine, OpenAIInference(engine.url, deadline_s=5) as inference:
        answer = inference.ask(task, "m", "one two three", max_tokens=4)

    assert (answer.model, answer.fault) == ("m", "")
    assert answer.prompt_tokens == engine.counters.prompt_tokens
    assert answer.completion_tokens == engine.counters.generation_tokens == (4 if task.generates else 0)


def test_an_endpoint_of_another_task_is_a_refusal_with_the_engines_words(inference: OpenAIInference):
    with pytest.raises(Refused, match="/v1/embeddings answered 404"):
        inference.ask(Task.EMBED, "m")


def test_a_tool_call_is_parsed(inference: OpenAIInference):
    answer = inference.chat("m", WEATHER, [TOOL])

    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("get_weather", {"location": "São Paulo"})]
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("arguments", ['{"location": "Par', '"Paris"', "[1]"])
def test_arguments_that_are_not_a_json_object_are_none(answering: Callable[[bytes], str], arguments: str):
    message = {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    body = {"model": "m", "choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage}

    with OpenAIInference(answering(json.dumps(body).encode())) as inference:
        (call,) = inference.chat("m", WEATHER, [TOOL]).tool_calls

    assert call.arguments is None


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ({"broken": True}, "answered 500: EngineCore encountered an issue"),
        ({"drop": True}, "disconnected"),
        ({"hang": True}, "did not answer within 0.3 s"),
    ],
)
def test_an_engine_that_cannot_answer_is_unavailable_in_its_own_words(
    engine: FakeEngine, faults: dict[str, object], words: str
):
    engine.faults = Faults(**faults)

    with OpenAIInference(engine.url, deadline_s=0.3) as inference, pytest.raises(EngineUnavailable, match=words):
        inference.chat("m", HELLO)


def test_an_error_that_only_the_engine_can_have_given_is_distinguished_from_silence(
    inference: OpenAIInference, engine: FakeEngine
):
    engine.faults = Faults(broken=True)
    with pytest.raises(EngineBroken):
        inference.chat("m", HELLO)

    engine.faults = Faults(drop=True)
    with pytest.raises(EngineUnavailable) as silent:
        inference.chat("m", HELLO)

    assert not isinstance(silent.value, EngineBroken)


def test_the_same_endpoint_with_another_deadline_has_connections_of_its_own(
    inference: OpenAIInference, engine: FakeEngine
):
    quick = inference.within(0.2)
    quick.close()
    engine.faults = Faults(hang=True)

    with pytest.raises(EngineUnavailable, match="did not answer within"):
        inference.within(0.2).chat("m", HELLO)
    assert "m" in inference.models()


def test_no_one_at_the_address_is_unavailable(engine: FakeEngine, inference: OpenAIInference):
    engine.stop()

    with pytest.raises(EngineUnavailable, match="refused"):
        inference.models()


def test_a_request_that_the_engine_does_not_accept_is_refused_in_its_own_words(inference: OpenAIInference):
    with pytest.raises(Refused, match="404: The model `other` does not exist"):
        inference.chat("other", HELLO)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>It works!</html>",
        b"[]",
        b"{}",
        b'{"choices": [], "usage": {}}',
        b'{"model": "m", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}',
        b'{"model": "m", "choices": [{"message": null, "finish_reason": "stop"}], "usage": {}}',
    ],
)
def test_an_answer_that_lacks_what_we_judge_by_is_not_taken_for_a_completion(
    answering: Callable[[bytes], str], body: bytes
):
    with OpenAIInference(answering(body)) as inference, pytest.raises(EngineUnavailable, match="is not"):
        inference.chat("m", HELLO)


def test_a_page_that_is_no_list_of_models_is_not_taken_for_one(answering: Callable[[bytes], str]):
    inference = OpenAIInference(answering(b'{"data": [{"name": "m"}]}'))

    with inference, pytest.raises(EngineUnavailable, match="list of models"):
        inference.models()
