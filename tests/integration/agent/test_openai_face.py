"""The agent through the real client of OpenAI: whole answers, streams, errors in its own shape, and the limits."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from genai_pipeline.agent import streaming
from tests.fakes.halting_model import HaltingModel
from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.scripted_model import Messages, Say, Script, ScriptedModel, tells_the_time, text_of
from tests.integration.agent.test_process import agent_process

NAME = "scripted-agent"
CHAT = "/v1/chat/completions"


def client_of(url: str, key: str = "none") -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)


@contextmanager
def agent_on(script: Script, **settings: Any) -> Iterator[tuple[ScriptedModel, RunningAgent, OpenAI]]:
    """An agent on a scripted model, and a client of it that has its first key."""
    key = settings.get("api_keys", "none").partition(",")[0]
    with (
        ScriptedModel(script) as model,
        running_agent(model.url, **settings) as agent,
        client_of(agent.url, key) as client,
    ):
        yield model, agent, client


def asked(words: str) -> list[Any]:
    return [{"role": "user", "content": words}]


def echo(messages: Messages) -> Say:
    return Say(f"heard {text_of(messages[-1])}")


def metric(agent: RunningAgent, line: str) -> bool:
    return line in httpx.get(f"{agent.url}/metrics", timeout=60).text.splitlines()


def test_the_agent_is_the_only_model():
    with agent_on(echo) as (_, _, client):
        found = client.models.list().data

    assert [(model.id, model.object) for model in found] == [(NAME, "model")]
    assert found[0].created > 0


def test_a_whole_answer_has_the_agents_words_after_its_tools_and_the_tokens_of_all_completions():
    with agent_on(tells_the_time, release_id="0123456789ab-cdef01") as (_, agent, client):
        answer = client.chat.completions.create(model=NAME, messages=asked("What time is it in Tokyo?"))
        counted = metric(agent, 'agent_tool_calls_total{status="success",tool="get_current_time"} 1.0')
        turns = metric(agent, 'agent_requests_total{status="200"} 1.0')
        sessions = metric(agent, "agent_sessions 0.0")

    choice = answer.choices[0]
    assert (answer.object, answer.model, answer.system_fingerprint) == ("chat.completion", NAME, "0123456789ab-cdef01")
    assert (choice.message.role, choice.finish_reason, choice.message.tool_calls) == ("assistant", "stop", None)
    assert str(choice.message.content).startswith("In Tokyo it is 20")
    assert answer.usage
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (18, 6, 24)
    assert (counted, turns, sessions) == (True, True, True)


@pytest.mark.parametrize("with_usage", [True, False])
def test_a_stream_has_one_role_the_words_an_end_and_the_usage_only_if_it_is_wanted(with_usage: bool):
    def script(messages: Messages) -> Say:
        tool = [("get_current_time", {"timezone": "UTC"})]
        return Say("It is late.") if messages[-1]["role"] == "tool" else Say("One moment.", calls=tool)

    options: Any = {"include_usage": True} if with_usage else openai.omit
    with agent_on(script) as (_, agent, client):
        chunks = list(
            client.chat.completions.create(model=NAME, messages=asked("Time?"), stream=True, stream_options=options)
        )
        first_bytes = metric(agent, "agent_first_byte_seconds_count 1.0")

    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert [c.delta.role for c in choices if c.delta.role] == ["assistant"]
    assert [c.delta.content for c in choices if c.delta.content] == ["One moment.", "\n\nIt is late."]
    assert [c.finish_reason for c in choices] == [*[None] * (len(choices) - 1), "stop"]
    assert not any(c.delta.tool_calls for c in choices)
    assert len({chunk.id for chunk in chunks}) == 1
    used = [chunk.usage.total_tokens if chunk.usage else None for chunk in chunks]
    assert used == [*[None] * len(choices), *([24] if with_usage else [])]
    assert first_bytes


def test_each_piece_of_a_stream_is_passed_on_before_the_model_says_the_next():
    with (
        HaltingModel(["Zür", "ich", " ☂"]) as model,
        running_agent(model.url) as agent,
        client_of(agent.url) as client,
        client.chat.completions.create(model=NAME, messages=asked("Hi"), stream=True) as stream,
    ):
        pieces = (chunk.choices[0].delta.content for chunk in stream)
        assert next(pieces) == ""
        for piece in model.pieces:
            model.go_on.release()
            assert next(pieces) == piece
        assert list(pieces) == [None]


def test_the_model_gets_the_history_that_the_client_sends_and_no_other():
    history = [
        {"role": "system", "content": "Speak briefly."},
        {"role": "user", "content": "I am in Oslo."},
        {"role": "user", "content": [{"type": "text", "text": "With"}, {"type": "text", "text": "a friend."}]},
        {"role": "assistant", "content": "Good."},
        {"role": "user", "content": "And you?"},
        {"role": "assistant", "content": ""},  # what some front ends keep of an answer that failed
        {"role": "user", "content": "Where am I?"},
    ]
    with agent_on(echo, system_prompt="You know places.") as (model, _, client):
        messages: Any = history
        client.chat.completions.create(model=NAME, messages=messages)
        client.chat.completions.create(model=NAME, messages=asked("Who am I?"))

    first, second = ([(m["role"], text_of(m)) for m in seen] for seen in model.seen)
    assert first == [
        ("system", "You know places.\n\nSpeak briefly."),
        ("user", "I am in Oslo.\n\nWith\na friend."),
        ("assistant", "Good."),
        ("user", "And you?\n\nWhere am I?"),
    ]
    assert second == [("system", "You know places."), ("user", "Who am I?")]


def test_half_a_character_of_an_earlier_answer_does_not_end_the_conversation():
    said = ["umbrella \ud83c", "and half \ud83c"]
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": said[0]}]
    body = {"model": NAME, "messages": [{"role": "system", "content": said[1]}, *turns, *asked(said[1])]}
    with agent_on(echo, system_prompt="") as (model, agent, _):
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{agent.url}{CHAT}", content=json.dumps(body), headers=headers, timeout=60)

    assert answer.status_code == 200
    halves = "and half \ufffd"
    assert [text_of(m) for m in model.seen[0]] == [halves, "Hi", "umbrella \ufffd", halves]


@pytest.mark.parametrize("limit", [{"max_history_messages": 4}, {"session_max_bytes": 250}])
def test_the_oldest_turns_of_a_history_that_is_too_long_are_left_out(limit: dict[str, int]):
    turns = [{"role": role, "content": f"{role} {n}"} for n in range(9) for role in ("user", "assistant")]
    with agent_on(echo, max_tool_cycles=1, **limit) as (model, _, client):
        messages: Any = [*turns, {"role": "user", "content": "now"}]
        client.chat.completions.create(model=NAME, messages=messages)

    said = [text_of(m) for m in model.seen[0][1:]]
    assert said == ["user 7", "assistant 7", "user 8", "assistant 8", "now"]


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_a_key_is_needed_where_keys_are_set(header: str):
    with agent_on(echo, api_keys="a-key,another") as (_, agent, client):
        right = {"Authorization": "Bearer another"} if header == "Authorization" else {"X-Api-Key": "another"}
        body = {"model": NAME, "messages": asked("Hi")}
        assert httpx.get(f"{agent.url}/v1/models", headers=right, timeout=60).status_code == 200
        assert httpx.post(f"{agent.url}{CHAT}", json=body, headers=right, timeout=60).status_code == 200
        stranger = client_of(agent.url, "wrong")
        with pytest.raises(openai.AuthenticationError) as chat:
            stranger.chat.completions.create(model=NAME, messages=asked("Hi"))
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()
        assert client.models.list().data

    assert (chat.value.code, chat.value.type) == ("unauthorized", "invalid_request_error")
    assert chat.value.response.headers["WWW-Authenticate"] == "Bearer"


def test_another_model_is_not_found():
    with agent_on(echo) as (model, _, client), pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model="scripted", messages=asked("Hi"))

    assert (error.value.code, error.value.param, model.seen) == ("model_not_found", "model", [])
    assert NAME in error.value.message


LONG = "x" * 21
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"messages": asked(LONG)}, "prompt_too_long", "messages"),
    ({"messages": [{"role": "system", "content": LONG}, *asked("Hi")]}, "prompt_too_long", "messages"),
    ({"messages": []}, "bad_request", "messages"),
    ({"messages": asked(" ")}, "bad_prompt", "messages"),
    ({"messages": [*asked("Hi"), {"role": "assistant", "content": "Hello"}]}, "bad_prompt", "messages"),
    ({"messages": [{"role": "tool", "content": "12", "tool_call_id": "1"}]}, "bad_request", "messages[0].role"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "bad_request",
        "messages[0].content[0].type",
    ),
    ({"tool_choice": "required"}, "bad_request", "tool_choice"),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "bad_request", "tool_choice"),
    ({"n": 2}, "bad_request", "n"),
    ({"response_format": {"type": "json_object"}}, "bad_request", "response_format.type"),
    ({"logprobs": True}, "bad_request", "logprobs"),
    ({"stream": "yes"}, "bad_request", "stream"),
]


def test_what_the_agent_cannot_do_is_refused_and_the_field_is_named():
    with agent_on(echo, max_prompt_chars=20) as (model, agent, _):
        for change, code, param in REFUSED:
            body = json.dumps({"model": NAME, "messages": asked("Hi")} | change)
            answer = httpx.post(f"{agent.url}{CHAT}", content=body, headers={"Content-Type": "application/json"})
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], error["param"]) == (400, code, param), change
            assert error["type"] == "invalid_request_error"
        older = [*asked(LONG), {"role": "assistant", "content": "No."}, *asked("Hi")]
        assert httpx.post(f"{agent.url}{CHAT}", json={"model": NAME, "messages": older}).status_code == 200

    assert len(model.seen) == 1


def test_a_body_may_hold_a_whole_session_and_a_question():
    limits = {"max_body_bytes": 1000, "session_max_bytes": 1000}
    with agent_on(echo, **limits) as (_, _, client):
        client.chat.completions.create(model=NAME, messages=asked("x" * 1500))
        with pytest.raises(openai.APIStatusError) as error:
            client.chat.completions.create(model=NAME, messages=asked("x" * 2500))

    assert (error.value.status_code, error.value.code) == (413, "body_too_large")


def test_tools_of_the_client_and_other_settings_are_left_out_and_the_answer_names_them():
    function: Any = {"type": "function", "function": {"name": "mine", "parameters": {"type": "object"}}}
    with agent_on(echo) as (model, _, client):
        answer = client.chat.completions.with_raw_response.create(
            model=NAME, messages=asked("Hi"), tools=[function], tool_choice="auto", temperature=0.5, max_tokens=5
        )
        plain = client.chat.completions.with_raw_response.create(model=NAME, messages=asked("Hi"), n=1)

    assert answer.headers["X-Genai-Ignored"] == "max_tokens, temperature, tools"
    assert "X-Genai-Ignored" not in plain.headers
    assert len(model.seen) == 2


def test_a_failure_of_the_model_has_openais_shape_and_ends_a_stream():
    with agent_on(lambda _: Say("no", status=400)) as (_, agent, client):
        with pytest.raises(openai.InternalServerError) as whole:
            client.chat.completions.create(model=NAME, messages=asked("Hi"))
        with pytest.raises(openai.APIError) as streamed:
            list(client.chat.completions.create(model=NAME, messages=asked("Hi"), stream=True))
        assert metric(agent, 'agent_requests_total{status="502"} 2.0')

    assert (whole.value.status_code, whole.value.code, whole.value.type) == (502, "model_refused", "server_error")
    assert (streamed.value.code, streamed.value.type) == ("model_refused", "server_error")


def test_the_deadline_and_the_number_of_turns_at_once_hold_here_too():
    with (
        HaltingModel(["never said"]) as model,
        running_agent(model.url, max_concurrent=1, deadline_s=1.0) as agent,
        client_of(agent.url) as client,
        client.chat.completions.create(model=NAME, messages=asked("slow"), stream=True) as stream,
        pytest.raises(openai.APIError) as late,
    ):
        list(stream)
    with (
        HaltingModel(["at last"]) as model,
        running_agent(model.url, max_concurrent=1) as agent,
        client_of(agent.url) as client,
        client.chat.completions.create(model=NAME, messages=asked("slow"), stream=True) as stream,
    ):
        assert model.entered.wait(60)
        with pytest.raises(openai.RateLimitError) as busy:
            client.chat.completions.create(model=NAME, messages=asked("Hi"))
        model.go_on.release()
        assert "at last" in [chunk.choices[0].delta.content for chunk in stream]

    assert late.value.code == "deadline"
    assert (busy.value.code, busy.value.type) == ("too_many_requests", "rate_limit_error")
    assert busy.value.response.headers["Retry-After"] == "1"


def test_an_idle_stream_has_heartbeats_which_the_client_passes_over(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.02)
    with HaltingModel(["at last"]) as model, running_agent(model.url) as agent, httpx.Client(timeout=60) as http:
        body = {"model": NAME, "messages": asked("Hi"), "stream": True}
        with http.stream("POST", f"{agent.url}{CHAT}", json=body) as stream:
            lines = stream.iter_lines()
            while not next(lines).startswith(":"):
                pass
        with client_of(agent.url) as client:
            chunks = client.chat.completions.create(model=NAME, messages=asked("Hi"), stream=True)
            assert next(chunks).choices[0].delta.role == "assistant"
            model.go_on.release(2)
            assert "at last" in [chunk.choices[0].delta.content for chunk in chunks]


@pytest.mark.parametrize("streamed", [True, False])
def test_a_turn_whose_client_goes_is_cancelled(streamed: bool):
    # So that only the client's leaving ends the turn.
    patient: dict[str, Any] = {"model_timeout_s": 600.0, "deadline_s": 600.0}
    with HaltingModel(["never read", "never said"]) as model, running_agent(model.url, **patient) as agent:
        host, _, port = agent.url.removeprefix("http://").partition(":")
        body = json.dumps({"model": NAME, "messages": asked("given up"), "stream": streamed}).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"{head}\r\n\r\n".encode() + body)
            assert model.entered.wait(60)
        assert model.gone.wait(60)  # the model's connection was closed too


def test_a_path_or_a_method_that_does_not_exist_has_openais_shape():
    with agent_on(echo) as (_, agent, _):
        nowhere = httpx.post(f"{agent.url}/v1/embeddings", json={}, timeout=60)
        wrong = httpx.get(f"{agent.url}{CHAT}", timeout=60)

    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "not_found")
    assert (wrong.status_code, wrong.json()["error"]["type"], wrong.headers["Allow"]) == (
        405,
        "invalid_request_error",
        "POST",
    )


def ask_until_refused(client: OpenAI) -> None:
    """The signal is handled when the process gets to it."""
    while True:
        client.chat.completions.create(model=NAME, messages=asked("new"))


def test_the_drain_finishes_a_stream_and_refuses_what_is_new():
    entered, go_on = threading.Event(), threading.Event()

    def script(messages: Messages) -> Say:
        if text_of(messages[-1]) == "slow":
            entered.set()
            go_on.wait(60)
        return Say("to the end")

    def streamed(client: OpenAI) -> list[str | None]:
        chunks = client.chat.completions.create(model=NAME, messages=asked("slow"), stream=True)
        return [chunk.choices[0].delta.content for chunk in chunks]

    with (
        ScriptedModel(script) as model,
        agent_process(model.url) as (process, url),
        client_of(url) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(streamed, client_of(url))
        assert entered.wait(60)
        client.models.list()  # this connection is kept, and therefore answered during the drain
        process.send_signal(signal.SIGTERM)
        with pytest.raises(openai.InternalServerError) as refused:
            ask_until_refused(client)
        go_on.set()
        assert slow.result(timeout=60)[-2:] == ["to the end", None]
        assert process.wait(timeout=20) == 0

    assert (refused.value.status_code, refused.value.code) == (503, "shutting_down")
    assert refused.value.response.headers["Retry-After"] == "1"
