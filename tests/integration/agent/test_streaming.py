"""POST /agent as Server-Sent Events, and what becomes of a turn whose client goes."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from genai_pipeline.agent import streaming
from tests.fakes.halting_model import HaltingModel
from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, results_of, text_of

EVENTS = {"Accept": "text/event-stream"}
SESSION = "a-session-of-my-own"


def read(stream: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a stream, as they come; a heartbeat is ("", {})."""
    name = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))
        elif line.startswith(":"):
            yield "", {}


def asking(http: httpx.Client, url: str, prompt: str, session_id: str = SESSION) -> Any:
    body = {"prompt": prompt, "session_id": session_id}
    return http.stream("POST", f"{url}/agent", json=body, headers=EVENTS, timeout=60)


def test_each_piece_of_the_text_is_passed_on_before_the_model_says_the_next():
    with (
        HaltingModel(["Zür", "ich", " ☂"]) as model,
        running_agent(model.url) as agent,
        httpx.Client() as http,
        asking(http, agent.url, "Hi") as stream,
    ):
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["X-Genai-Release"] == ""
        events = read(stream)
        for piece in model.pieces:
            model.go_on.release()
            assert next(events) == ("delta", {"text": piece})
        name, reply = next(events)
        assert list(events) == []
        metrics = httpx.get(f"{agent.url}/metrics").text

    assert (name, reply["response"], reply["session_id"]) == ("done", "Zürich ☂", SESSION)
    assert set(reply) == {"response", "session_id", "usage", "tools", "cycles"}
    assert "agent_first_byte_seconds_count 1.0" in metrics


def test_what_some_readers_take_for_the_end_of_a_line_does_not_end_one():
    text = "one\u2028two\u2029three\x85four\x1cfive\nsix\r\nseven"
    with (
        ScriptedModel(lambda messages: Say(text)) as model,
        running_agent(model.url) as agent,
        httpx.Client() as http,
        asking(http, agent.url, "Hi") as stream,
    ):
        events = list(read(stream))

    assert [data.get("text") or data["response"] for _, data in events] == [text, text]


def test_tools_are_reported_as_they_start_and_end_and_the_reply_is_the_same_as_in_json():
    def script(messages: Messages) -> Say:
        if messages[-1]["role"] == "user":
            return Say("One moment.", calls=[("get_current_time", {"timezone": "UTC"}), ("get_current_time", {})])
        return Say("It is late.")

    with ScriptedModel(script) as model, running_agent(model.url) as agent, httpx.Client() as http:
        with asking(http, agent.url, "Time?") as stream:
            events = list(read(stream))
        plain = http.post(f"{agent.url}/agent", json={"prompt": "Time?"}, timeout=60).json()

    told = [(name, data.get("name") or data.get("text")) for name, data in events]
    assert told[0] == ("delta", "One moment.")
    assert sorted(told[1:5]) == [("tool_end", "get_current_time")] * 2 + [("tool_start", "get_current_time")] * 2
    assert told[5] == ("delta", "It is late.")
    assert events[1][1] == {"name": "get_current_time", "arguments": {"timezone": "UTC"}}
    assert {data["status"] for name, data in events if name == "tool_end"} == {"success", "error"}
    assert all(data["ms"] >= 0 for name, data in events if name == "tool_end")
    reply = events[-1][1]
    assert reply.keys() == plain.keys()
    assert (reply["response"], len(reply["tools"]), len(reply["cycles"])) == ("It is late.", 2, 2)


def test_a_turn_that_fails_ends_in_an_error_and_leaves_no_trace():
    def script(messages: Messages) -> Say:
        return Say("no", status=400) if text_of(messages[-1]) == "bad" else Say(str(len(messages)))

    with ScriptedModel(script) as model, running_agent(model.url) as agent, httpx.Client() as http:
        with asking(http, agent.url, "bad") as stream:
            events = list(read(stream))
        with asking(http, agent.url, "good") as stream:
            after = list(read(stream))
        metrics = httpx.get(f"{agent.url}/metrics").text

    assert 'agent_requests_total{status="502"} 1.0' in metrics
    assert [name for name, _ in events] == ["error"]
    assert events[0][1]["code"] == "model_refused"
    assert after[-1][1]["response"] == "2"  # the system prompt and this prompt


def test_what_fails_before_a_turn_begins_has_a_status_of_its_own():
    with ScriptedModel(lambda _: Say("Hi")) as model, running_agent(model.url, api_keys="one,two") as agent:
        bearer = {"Authorization": "Bearer one"}
        mine = httpx.post(f"{agent.url}/agent", json={"prompt": "Hi"}, headers=bearer, timeout=60).json()
        other = EVENTS | {"Authorization": "Bearer two"}
        body = {"prompt": "Hi", "session_id": mine["session_id"]}
        refused = httpx.post(f"{agent.url}/agent", json=body, headers=other, timeout=60)
        wrong = httpx.post(f"{agent.url}/agent", json={}, headers=EVENTS | bearer, timeout=60)

    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_session")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "bad_prompt")


def test_an_idle_stream_has_heartbeats(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.02)
    with (
        HaltingModel(["at last"]) as model,
        running_agent(model.url) as agent,
        httpx.Client() as http,
        asking(http, agent.url, "Hi") as stream,
    ):
        events = read(stream)
        assert [next(events), next(events)] == [("", {})] * 2
        model.go_on.release()
        assert [name for name, _ in events if name] == ["delta", "done"]


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
def test_a_turn_whose_client_goes_is_cancelled_and_leaves_no_trace(accept: str):
    # So that only the client's leaving ends the turn.
    patient: dict[str, Any] = {"model_timeout_s": 600.0, "deadline_s": 600.0}
    with HaltingModel(["never read", "never said"]) as model, running_agent(model.url, **patient) as agent:
        host, _, port = agent.url.removeprefix("http://").partition(":")
        body = json.dumps({"prompt": "given up", "session_id": SESSION}).encode()
        head = f"POST /agent HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert model.entered.wait(60)
        assert model.gone.wait(60)  # the model's connection was closed too
        model.go_on.release(4)
        answer = httpx.post(f"{agent.url}/agent", json={"prompt": "Hi", "session_id": SESSION}, timeout=60)
        seen = httpx.get(f"{agent.url}/sessions/{SESSION}", timeout=60).json()

    assert answer.status_code == 200
    assert [turn["prompt"] for turn in seen["turns"]] == ["Hi"]


def test_a_character_that_the_model_cuts_in_two_does_not_end_the_conversation():
    with HaltingModel(["umbrella \ud83c", "\udf02", " and half \ud83c"]) as model, running_agent(model.url) as agent:
        model.go_on.release(6)
        body = {"prompt": "Hi", "session_id": SESSION}
        answers = [httpx.post(f"{agent.url}/agent", json=body, timeout=60) for _ in range(2)]
        seen = httpx.get(f"{agent.url}/sessions/{SESSION}").json()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [turn["response"] for turn in seen["turns"]] == ["umbrella 🌂 and half \ufffd"] * 2


@pytest.mark.parametrize("said", ["a\ud83c", "\ud83c\udf02"])
def test_nor_does_one_that_it_cuts_before_it_calls_a_tool(said: str):
    def script(messages: Messages) -> Say:
        done = messages[-1]["role"] == "tool"
        return Say("Done.") if done else Say(said, calls=[("get_current_time", {"timezone": "UTC"})])

    with ScriptedModel(script) as model, running_agent(model.url) as agent:
        answer = httpx.post(f"{agent.url}/agent", json={"prompt": "Hi"}, timeout=60)

    assert (answer.status_code, answer.json()["response"]) == (200, "Done.")


@pytest.mark.parametrize(
    ("accept", "streamed"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; q=0.9, */*;q=0.1", True),
        ("application/json, text/event-stream", True),
        ("application/json;q=0.5, text/event-stream;q=0.6", True),
        ("application/json, text/event-stream;q=0.1", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=never", True),
        ("*/*", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_events_are_sent_to_who_asks_for_them(accept: str, streamed: bool):
    assert streaming.wants_events(accept) == streamed


def test_accept_in_two_lines_is_one_list():
    accept = [("Accept", "application/json"), ("Accept", "text/event-stream")]
    with ScriptedModel(lambda _: Say("Hi")) as model, running_agent(model.url) as agent, httpx.Client() as http:
        http.headers.clear()
        answer = http.post(f"{agent.url}/agent", json={"prompt": "Hi"}, headers=accept, timeout=60)

    assert answer.headers["content-type"].startswith("text/event-stream")


def test_results_of_tools_are_not_streamed():
    def script(messages: Messages) -> Say:
        if messages[-1]["role"] == "user":
            return Say(calls=[("get_current_time", {"timezone": "UTC"})])
        return Say(f"told: {len(results_of(messages))}")

    with (
        ScriptedModel(script) as model,
        running_agent(model.url) as agent,
        httpx.Client() as http,
        asking(http, agent.url, "Time?") as stream,
    ):
        events = list(read(stream))

    assert [name for name, _ in events] == ["tool_start", "tool_end", "delta", "done"]
    assert set(events[1][1]) == {"name", "status", "ms"}
