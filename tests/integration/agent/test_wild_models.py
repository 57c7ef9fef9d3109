"""Models that stall, talk garbage, call what is not there or never end, over a real socket to the real service."""

import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.fakes.running_agent import running_agent
from tests.fakes.wild_model import HEADERS, Talk, WildModel, call, delta, text

HTTP = httpx.Client(timeout=60)
STOP = delta("stop")
CALLS = delta("tool_calls")
UTC = '{"timezone": "UTC"}'


def ask(behave: Callable[[Talk], Any], **settings: Any) -> httpx.Response:
    with WildModel(behave) as model, running_agent(model.url, **{"deadline_s": 60.0} | settings) as agent:
        return HTTP.post(f"{agent.url}/agent", json={"prompt": "Hi"})


def once(first: Callable[[Talk], Any]) -> Callable[[Talk], Any]:
    """Misbehaves once; says what the tools said when they have answered."""

    def behave(talk: Talk) -> None:
        if talk.answers_a_tool:
            talk.stream(text(" | ".join(str(m["content"]) for m in talk.messages if m["role"] == "tool")), STOP)
        else:
            first(talk)

    return behave


def error_of(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert "Traceback" not in error["message"]
    return response.status_code, error["code"]


STALLS: dict[str, Callable[[Talk], Any]] = {
    "before it says anything at all": lambda talk: talk.wait(),
    "in its headers": lambda talk: (talk.raw(b"HTTP/1.1 200 OK\r\n"), talk.wait()),
    "before its first word": lambda talk: talk.stream(stall=True),
    "with only signs of life": lambda talk: (talk.stream(done=False), talk.for_ever(b": ping\n\n", 0.05)),
    "with only empty choices": lambda talk: (talk.stream(done=False), talk.for_ever({"choices": []}, 0.05)),
    "in the middle of its text": lambda talk: talk.stream(text("Hel"), stall=True),
    "in the middle of a call": lambda talk: talk.stream(call("get_current_time", '{"time'), stall=True),
    "in the middle of a line": lambda talk: talk.stream(b'data: {"choi', stall=True),
}


@pytest.mark.parametrize("when", STALLS)
def test_a_model_that_stops_talking_is_left_after_its_time(when: str):
    response = ask(STALLS[when], model_timeout_s=0.4)

    assert error_of(response) in [(504, "model_stalled"), (503, "model_unavailable")]


GARBAGE: dict[str, Callable[[Talk], Any]] = {
    "broken JSON": lambda talk: talk.stream(text("Hi"), b"data: {broken\n\n"),
    "a page": lambda talk: talk.raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>Welcome</html>"),
    "no end": lambda talk: talk.stream(text("Half of an"), done=False),
    "a call without an index": lambda talk: talk.stream(call("get_current_time", UTC, index=None), CALLS),
    "the engine's own abort": lambda talk: talk.stream(text("Hi"), delta("abort")),
    "compressed": lambda talk: talk.stream(text("Hi"), STOP, headers=HEADERS + b"Content-Encoding: gzip\r\n"),
    "a line without an end": lambda talk: (talk.stream(b"data: ", done=False), talk.for_ever(b"x" * 65_536)),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_an_answer_that_is_not_a_completion_ends_in_a_clear_error(what: str):
    response = ask(GARBAGE[what])

    assert error_of(response) == (502, "model_garbage")


def test_an_error_within_the_stream_and_a_broken_connection_are_reported():
    response = ask(lambda talk: talk.stream(text("Hi"), {"error": {"message": "engine dead", "code": 500}}))
    assert error_of(response) == (503, "model_unavailable")
    response = ask(lambda talk: (talk.stream(text("Hi"), done=False), talk.reset()))
    assert error_of(response) == (503, "model_unavailable")


USELESS: dict[str, Callable[[Talk], Any]] = {
    "only white space": lambda talk: talk.stream(text(" \n"), STOP),
    "half of the arguments": lambda talk: talk.stream(call("get_current_time", '{"timezone": "U'), CALLS),
    "a hundred calls": lambda talk: talk.stream(
        *[call("get_current_time", UTC, f"c{i}", i) for i in range(100)], CALLS
    ),
    "text without an end": lambda talk: (talk.stream(done=False), talk.for_ever(text("word " * 200))),
    "arguments without an end": lambda talk: (
        talk.stream(call("get_current_time", ""), done=False),
        talk.for_ever(delta(tool_calls=[{"index": 0, "function": {"arguments": " " * 4_000}}])),
    ),
}


@pytest.mark.parametrize("what", USELESS)
def test_an_answer_that_cannot_be_used_ends_in_an_error_and_calls_nothing(what: str):
    with (
        WildModel(USELESS[what]) as model,
        running_agent(model.url, deadline_s=60.0, model_max_answer_chars=50_000) as agent,
    ):
        response = HTTP.post(f"{agent.url}/agent", json={"prompt": "Hi"})
        metrics = HTTP.get(f"{agent.url}/metrics").text

    assert error_of(response) in [(502, "no_answer"), (502, "model_garbage")]
    assert "agent_tool_calls_total{" not in metrics


def test_a_model_that_never_ends_costs_no_memory():
    tracemalloc.start()
    try:
        response = ask(lambda talk: (talk.stream(b"data: ", done=False), talk.for_ever(b"x" * 65_536)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert error_of(response) == (502, "model_garbage")
    assert peak < 120 * 2**20


def test_a_model_that_loops_for_ever_is_stopped():
    response = ask(lambda talk: talk.stream(call("get_current_time", UTC), CALLS))

    assert error_of(response) == (502, "tool_loop")


def test_an_unknown_tool_is_an_error_for_the_model_which_may_go_on():
    response = ask(once(lambda talk: talk.stream(call("rm_rf", '{"path": "/"}'), CALLS)))

    assert response.status_code == 200
    assert response.json()["tools"][0]["status"] == "error"
    assert "rm_rf" in response.json()["response"]


@pytest.mark.parametrize("name", ["functions.get_weather", "get weather", "get_weather\n", "x" * 100], ids=range(4))
def test_a_tool_whose_name_no_tool_can_have_is_an_unknown_one(name: str):
    response = ask(once(lambda talk: talk.stream(call(name, '{"location": "Oslo"}'), CALLS)))

    [use] = response.json()["tools"]
    assert use["name"].startswith("invalid_")
    assert (use["arguments"], use["status"]) == ({"location": "Oslo"}, "error")


def test_calls_with_the_same_id_or_none_are_distinguished():
    zones = ["UTC", "Asia/Tokyo", "Europe/Berlin"]
    calls = [
        call("get_current_time", json.dumps({"timezone": zone}), call_id, index)
        for index, (zone, call_id) in enumerate(zip(zones, ["same", "same", None], strict=True))
    ]
    response = ask(once(lambda talk: talk.stream(*calls, CALLS)))

    answer = response.json()
    assert [(t["arguments"]["timezone"], t["status"]) for t in answer["tools"]] == [(z, "success") for z in zones]
    assert all(f"({zone})" in answer["response"] for zone in zones)


def test_the_same_ids_in_every_completion_are_no_problem():
    def behave(talk: Talk) -> None:
        results = [m for m in talk.messages if m["role"] == "tool"]
        if len(results) == 3:
            ids = [c["id"] for m in talk.messages for c in m.get("tool_calls") or []]
            assert [m["tool_call_id"] for m in results] == ids
            talk.stream(text(f"{len(set(ids))} calls"), STOP)
        else:
            talk.stream(call("get_current_time", UTC, "0"), CALLS)

    assert ask(behave).json()["response"] == "3 calls"


def test_an_answer_that_is_whole_does_not_wait_for_what_may_follow():
    for tail in ({"stall": True}, {"done": False}):
        response = ask(lambda talk, tail=tail: talk.stream(text("Hello"), STOP, **tail), model_timeout_s=15.0)
        assert (response.status_code, response.json()["response"]) == (200, "Hello")


def chunk_with(*choices: Any) -> dict[str, Any]:
    return {"choices": list(choices)}


ODD: dict[str, list[Any]] = {
    "an end that is not yet one": [chunk_with({"index": 0, "delta": {"content": "Hello"}, "finish_reason": ""}), STOP],
    "notes without a delta": [text("Hello"), chunk_with({"index": 0, "content_filter_results": {}}), STOP],
    "events without data": [b"retry: 1000\n\n", b"event: ping\n\n", text("Hello"), b"id: 7\n\n", b": ping\n\n", STOP],
    "another answer beside the first": [
        chunk_with({"index": 1, "delta": {"content": "Hi"}}, {"index": 0, "delta": {"content": "Hello"}}),
        chunk_with({"index": 1, "delta": {"content": "Hi"}, "finish_reason": "length"}),
        STOP,
    ],
}


@pytest.mark.parametrize("what", ODD)
def test_what_some_endpoints_say_beside_their_answer_is_passed_over(what: str):
    response = ask(lambda talk: talk.stream(*ODD[what]))

    assert (response.status_code, response.json().get("response")) == (200, "Hello")


@pytest.mark.parametrize("count", [10**400, -4, "x"], ids=["endless", "negative", "text"])
@pytest.mark.parametrize("name", ["prompt_tokens", "prompt_tokens_details"])
def test_a_malformed_usage_does_not_spoil_the_answer(name: str, count: Any):
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    usage |= {name: {"cached_tokens": count} if name.endswith("details") else count}
    response = ask(lambda talk: talk.stream(text("Hello"), STOP, {"choices": [], "usage": usage}, done=False))

    assert (response.status_code, response.json().get("response")) == (200, "Hello")
    assert response.json()["usage"]["inputTokens"] == 0


def test_a_request_that_is_too_large_for_the_endpoint_is_reported_as_that():
    assert error_of(ask(lambda talk: talk.error(413))) == (413, "conversation_too_long")


def test_other_words_for_the_end_are_understood():
    assert ask(lambda talk: talk.stream(text("Hello"), delta("eos"))).json()["response"] == "Hello"
    assert error_of(ask(lambda talk: talk.stream(text("Hello"), delta("model_length")))) == (502, "answer_cut_off")


def test_a_call_without_arguments_is_one_with_none():
    response = ask(once(lambda talk: talk.stream(call("get_current_time", ""), CALLS)))

    assert response.json()["tools"][0]["arguments"] == {}
    assert response.json()["tools"][0]["status"] == "error"


def test_a_stream_tells_what_went_wrong_after_what_was_said():
    headers = {"Accept": "text/event-stream"}
    with (
        WildModel(lambda talk: talk.stream(text("Once upon"), stall=True)) as model,
        running_agent(model.url, model_timeout_s=1.0) as agent,
    ):
        answer = HTTP.post(f"{agent.url}/agent", json={"prompt": "Hi"}, headers=headers)

    events = [dict(line.split(": ", 1) for line in event.splitlines()) for event in answer.text.strip().split("\n\n")]
    assert [event["event"] for event in events] == ["delta", "error"]
    assert json.loads(events[0]["data"]) == {"text": "Once upon"}
    assert json.loads(events[1]["data"])["code"] == "model_stalled"


def test_calls_that_share_an_index_are_distinguished_by_their_ids():
    paris = '{"timezone": "Europe/Paris"}'
    calls = call("get_current_time", UTC, "abc123DE1"), call("get_current_time", paris, "abc123DE2")
    response = ask(once(lambda talk: talk.stream(*calls, CALLS)))

    assert [t["arguments"]["timezone"] for t in response.json()["tools"]] == ["UTC", "Europe/Paris"]


def test_pieces_of_a_call_that_repeat_its_id_are_one_call():
    pieces = (call("get_current_time", '{"timezone":', "c1"), call(None, ' "UTC"}', "c1"), CALLS)
    response = ask(once(lambda talk: talk.stream(*pieces)))

    assert [t["arguments"] for t in response.json()["tools"]] == [{"timezone": "UTC"}]


def test_arguments_that_come_as_an_object_are_taken():
    response = ask(once(lambda talk: talk.stream(call("get_current_time", {"timezone": "UTC"}), CALLS)))

    assert [t["arguments"] for t in response.json()["tools"]] == [{"timezone": "UTC"}]


def test_a_call_that_the_token_limit_cut_off_is_reported_as_that():
    half = call("get_weather", '{"location": "Par')
    assert error_of(ask(lambda talk: talk.stream(half, delta("length")))) == (502, "answer_cut_off")


@pytest.mark.parametrize(
    "refusal", ["System role not supported", "Only user and assistant roles are supported!"], ids=["gemma", "mistral"]
)
def test_a_template_without_a_system_role_gets_the_prompt_in_the_first_question(refusal: str):
    seen: list[list[dict[str, Any]]] = []

    def behave(talk: Talk) -> None:
        seen.append(talk.messages)
        if talk.messages[0]["role"] == "system":
            talk.error(400, f"{refusal} None")
        else:
            talk.stream(text("Fine."), STOP)

    with WildModel(behave) as model, running_agent(model.url, deadline_s=60.0) as agent:
        answers = [HTTP.post(f"{agent.url}/agent", json={"prompt": prompt}) for prompt in ("Hi", "And now?")]

    assert [answer.json()["response"] for answer in answers] == ["Fine.", "Fine."]
    assert [messages[0]["role"] for messages in seen] == ["system", "user", "user"]
    assert str(seen[1][0]["content"]).count("Hi") == 1
    assert len(str(seen[1][0]["content"])) > len("Hi") * 10


def test_another_refusal_of_the_request_is_handed_on():
    assert error_of(ask(lambda talk: talk.error(400, "the prompt is too odd"))) == (502, "model_refused")
