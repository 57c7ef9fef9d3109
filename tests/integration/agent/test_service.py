"""The real service over HTTP, on a scripted model."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from genai_pipeline.agent import connection_age
from genai_pipeline.local.weather_server import WeatherServer
from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, results_of, text_of


def echo(messages: Messages) -> Say:
    """Says everything the user said in this conversation."""
    return Say(" | ".join(text_of(m) for m in messages if m["role"] == "user"))


def calling(*calls: tuple[str, dict[str, Any]]) -> Callable[[Messages], Say]:
    """Makes the calls, then says what the tools answered."""

    def script(messages: Messages) -> Say:
        return Say(calls=list(calls)) if messages[-1]["role"] == "user" else Say("; ".join(results_of(messages)))

    return script


HTTP = httpx.Client(timeout=120, limits=httpx.Limits(max_keepalive_connections=0))


def ask(url: str, prompt: str, session_id: str | None = None) -> httpx.Response:
    body = {"prompt": prompt} | ({"session_id": session_id} if session_id else {})
    return HTTP.post(f"{url}/agent", json=body)


def error_of(response: httpx.Response) -> tuple[int, str]:
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert "Traceback" not in response.text
    return response.status_code, error["code"]


def test_fifty_sessions_side_by_side_do_not_mix():
    with (
        ScriptedModel(echo) as model,
        running_agent(model.url, max_concurrent=64) as agent,
        ThreadPoolExecutor(50) as pool,
    ):
        first = list(pool.map(lambda i: ask(agent.url, f"secret-{i}").json(), range(50)))
        second = list(pool.map(lambda i: ask(agent.url, f"again-{i}", first[i]["session_id"]).json(), range(50)))

    assert len({answer["session_id"] for answer in first}) == 50
    assert [answer["response"] for answer in first] == [f"secret-{i}" for i in range(50)]
    assert [answer["response"] for answer in second] == [f"secret-{i} | again-{i}" for i in range(50)]


def test_turns_of_one_session_wait_for_each_other():
    entered, go_on = threading.Event(), threading.Event()

    def script(messages: Messages) -> Say:
        if text_of(messages[-1]) == "one":
            entered.set()
            go_on.wait(10)
        return echo(messages)

    session = "a-session-of-my-own"
    with ScriptedModel(script) as model, running_agent(model.url) as agent, ThreadPoolExecutor(2) as pool:
        one = pool.submit(ask, agent.url, "one", session)
        assert entered.wait(10)
        two = pool.submit(ask, agent.url, "two", session)
        assert ask(agent.url, "other").json()["response"] == "other"
        assert len(model.seen) == 2  # `two` has not reached the model
        go_on.set()

        assert one.result().json()["response"] == "one"
        assert two.result().json()["response"] == "one | two"


def test_an_answer_carries_its_tools_tokens_session_and_release():
    script = calling(
        ("get_current_time", {"timezone": "Asia/Tokyo"}), ("get_current_time", {"timezone": "Mars/Olympus"})
    )
    with ScriptedModel(script) as model, running_agent(model.url, release_id="0123456789ab-cdef01") as agent:
        response = ask(agent.url, "times?")

    answer = response.json()
    assert set(answer) == {"response", "session_id", "tools", "usage", "cycles"}
    assert all(use.pop("ms") >= 0 for use in answer["tools"])
    assert [(c["ms"] > 0, c["inputTokens"], c["outputTokens"]) for c in answer["cycles"]] == [(True, 9, 3)] * 2
    assert answer["tools"] == [
        {"name": "get_current_time", "arguments": {"timezone": "Asia/Tokyo"}, "status": "success"},
        {"name": "get_current_time", "arguments": {"timezone": "Mars/Olympus"}, "status": "error"},
    ]
    assert (answer["usage"]["inputTokens"], answer["usage"]["outputTokens"]) == (18, 6)
    assert response.headers["X-Genai-Release"] == "0123456789ab-cdef01"


def test_the_model_gets_the_tools_replies_in_the_words_it_was_taught():
    calls = [
        ("get_weather", {"location": "Zürich"}),
        ("get_weather", {"location": "Xyz"}),
        ("get_weather", {"location": "Townsville"}),
        ("get_weather", {"location": "../healthz"}),
        ("get_current_time", {"timezone": "Mars/Olympus"}),
    ]
    weather = WeatherServer(hang_s=30)
    threading.Thread(target=weather.serve_forever, daemon=True).start()
    with ScriptedModel(calling(*calls)) as model, running_agent(model.url, weather.url, weather_timeout_s=1.0) as agent:
        ask(agent.url, "everything")
        told = results_of(model.seen[-1])
    weather.stop()

    assert told == [
        "Zürich: light rain, 12°C, humidity 81%, wind 14 km/h (demo data)",
        "Error: no weather is known for Xyz",
        "Error: the weather service did not answer (timeout)",
        "Error: no weather is known for ../healthz",
        "Error: unknown time zone 'Mars/Olympus'; use an IANA name such as Europe/Berlin",
    ]


def test_a_call_of_a_tool_that_does_not_exist_is_an_error_for_the_model_and_no_new_metric():
    with ScriptedModel(calling(("rm_rf", {"path": "/"}))) as model, running_agent(model.url) as agent:
        answer = ask(agent.url, "do it").json()
        metrics = HTTP.get(f"{agent.url}/metrics").text

    assert answer["tools"][0].pop("ms") >= 0
    assert answer["tools"] == [{"name": "rm_rf", "arguments": {"path": "/"}, "status": "error"}]
    assert 'agent_tool_calls_total{status="error",tool="unknown"} 1.0' in metrics
    assert "rm_rf" not in metrics


def test_a_failed_turn_leaves_no_trace_in_the_conversation():
    def script(messages: Messages) -> Say:
        return Say("no", status=400) if text_of(messages[-1]) == "bad" else echo(messages)

    with ScriptedModel(script) as model, running_agent(model.url) as agent:
        session = ask(agent.url, "one").json()["session_id"]
        refused = ask(agent.url, "bad", session)
        assert error_of(refused) == (502, "model_refused")
        assert ask(agent.url, "two", session).json()["response"] == "one | two"


def test_a_session_remembers_only_so_many_messages():
    with ScriptedModel(echo) as model, running_agent(model.url, max_history_messages=4, max_tool_cycles=1) as agent:
        session = ask(agent.url, "0").json()["session_id"]
        answers = [ask(agent.url, str(i), session).json()["response"] for i in range(1, 6)]

    assert answers[-1] == "3 | 4 | 5"


def test_a_conversation_that_no_longer_fits_the_model_goes_on_without_its_oldest_turns():
    def small(messages: Messages) -> Say:
        if len(messages) > 6:
            return Say("This model's maximum context length is 2048 tokens", status=400)
        return echo(messages)

    with ScriptedModel(small) as model, running_agent(model.url) as agent:
        session = ask(agent.url, "0").json()["session_id"]
        answers = [ask(agent.url, str(i), session).json()["response"] for i in range(1, 5)]
        shown = HTTP.get(f"{agent.url}/sessions/{session}").json()["turns"]

    assert answers == ["0 | 1", "0 | 1 | 2", "1 | 2 | 3", "2 | 3 | 4"]
    assert [turn["prompt"] for turn in shown] == ["2", "3", "4"]


def kept_in(folder: Path) -> list[str]:
    return [name for _, _, names in os.walk(folder) for name in names if name != ".lock"]


@pytest.mark.parametrize("stored", [False, True])
def test_an_expired_session_goes_by_itself(stored: bool, tmp_path: Path):
    place = {"sessions": f"file:{tmp_path}"} if stored else {}
    with ScriptedModel(echo) as model, running_agent(model.url, session_ttl_s=0.5, **place) as agent:
        session = ask(agent.url, "old").json()["session_id"]
        deadline = time.monotonic() + 60
        while "agent_sessions 0.0" not in HTTP.get(f"{agent.url}/metrics").text or kept_in(tmp_path):
            assert time.monotonic() < deadline
        assert error_of(HTTP.get(f"{agent.url}/sessions/{session}")) == (404, "no_session")
        assert ask(agent.url, "new", session).json()["response"] == "new"


def test_sessions_beyond_the_limit_are_forgotten():
    with ScriptedModel(echo) as model, running_agent(model.url, max_sessions=2, max_concurrent=2) as agent:
        sessions = [ask(agent.url, f"s{i}").json()["session_id"] for i in range(3)]
        metrics = HTTP.get(f"{agent.url}/metrics").text
        assert ask(agent.url, "again", sessions[2]).json()["response"] == "s2 | again"
        assert ask(agent.url, "again", sessions[0]).json()["response"] == "again"

    assert "agent_sessions 2.0" in metrics


def test_a_model_that_uses_too_many_tokens_is_stopped_between_its_completions():
    loop = calling(("get_current_time", {"timezone": "UTC"}))
    with (
        ScriptedModel(lambda m: loop(m[:2])) as model,
        running_agent(model.url, max_request_tokens=20) as agent,
    ):
        assert error_of(ask(agent.url, "again and again")) == (502, "too_many_tokens")
        assert len(model.seen) == 2


def test_waiting_for_ones_turn_counts_for_the_deadline():
    go_on = threading.Event()

    def script(messages: Messages) -> Say:
        if text_of(messages[-1]) == "first":
            go_on.wait(60)
        return echo(messages)

    session = "a-session-of-my-own"
    with (
        ScriptedModel(script) as model,
        running_agent(model.url, deadline_s=1.0) as agent,
        ThreadPoolExecutor(2) as pool,
    ):
        answers = list(pool.map(lambda prompt: ask(agent.url, prompt, session), ("first", "first")))
        go_on.set()
        assert [error_of(answer) for answer in answers] == [(504, "deadline")] * 2
        assert error_of(HTTP.get(f"{agent.url}/sessions/{session}")) == (404, "no_session")


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (Say("cut", finish="length"), (502, "answer_cut_off")),
        (Say("filtered", finish="content_filter"), (502, "no_answer")),
        (Say(calls=[("get_current_time", {"timezone": "UTC"})]), (502, "tool_loop")),
        (Say("slow", wait_s=5), (504, "deadline")),
        (Say("boom", status=500), (503, "model_unavailable")),
        (Say("wrong key", status=401), (503, "model_unavailable")),
        (Say("The model `scripted` does not exist", status=404), (503, "model_unavailable")),
        (Say("rate limit", status=429), (503, "model_busy")),
        (Say("This model's maximum context length is 2048 tokens", status=400), (413, "conversation_too_long")),
    ],
)
def test_each_failure_of_the_model_is_distinguished(say: Say, expected: tuple[int, str]):
    with (
        ScriptedModel(lambda _: say) as model,
        running_agent(model.url, deadline_s=1.0 if say.wait_s else 30, model_api_key="sk-secret") as agent,
    ):
        response = ask(agent.url, "Hi")

    assert error_of(response) == expected
    assert "sk-secret" not in response.text
    assert (response.status_code == 503) == ("Retry-After" in response.headers)


def test_a_model_that_is_down_is_named_with_a_remedy():
    with running_agent("http://127.0.0.1:9/v1") as agent:
        response = ask(agent.url, "Hi")
        ready = HTTP.get(f"{agent.url}/readyz")
        alive = HTTP.get(f"{agent.url}/healthz")

    assert error_of(response) == (503, "model_unavailable")
    assert response.json()["error"]["message"] == (
        "The model 'scripted' at http://127.0.0.1:9/v1 did not answer (APIConnectionError). "
        "Check that it runs and is reachable."
    )
    assert ready.status_code == 503
    assert "did not answer" in ready.json()["reason"]
    assert alive.status_code == 200


def test_more_requests_than_allowed_are_refused_at_once_and_probes_still_answer():
    busy = threading.Semaphore(0)

    def script(messages: Messages) -> Say:
        busy.release()
        return Say("slow", wait_s=20)

    with (
        ScriptedModel(script) as model,
        running_agent(model.url, max_concurrent=2) as agent,
        ThreadPoolExecutor(2) as pool,
    ):
        waiting = [pool.submit(ask, agent.url, "Hi") for _ in range(2)]
        assert all(busy.acquire(timeout=10) for _ in range(2))
        refused = ask(agent.url, "Hi")
        metrics = HTTP.get(f"{agent.url}/metrics").text
        model.stopped.set()
        assert [w.result().status_code for w in waiting] == [200, 200]

    assert error_of(refused) == (429, "too_many_requests")
    assert refused.headers["Retry-After"] == "1"
    assert "agent_requests_in_flight 2.0" in metrics


def test_bad_requests_are_counted_by_their_status():
    with ScriptedModel(echo) as model, running_agent(model.url, max_body_bytes=1000) as agent:
        url = f"{agent.url}/agent"
        refused = [HTTP.post(url, content=b"x" * 1001), HTTP.post(url, content=b"hello"), HTTP.get(url)]
        refused.append(HTTP.post(url, content=b"hello", headers={"Content-Type": "application/json"}))
        HTTP.get(f"{agent.url}/nothing")
        metrics = HTTP.get(f"{agent.url}/metrics").text

    assert [response.status_code for response in refused] == [413, 415, 405, 400]
    for response in refused:
        assert f'agent_requests_total{{status="{response.status_code}"}} 1.0' in metrics
    assert "agent_request_seconds_count 4.0" in metrics


def test_ready_means_that_the_expected_model_really_completes():
    faults = {"say": Say("fine")}
    with (
        ScriptedModel(lambda _: faults["say"]) as model,
        running_agent(model.url, ready_cache_s=1e-9, release_id="r1") as agent,
    ):
        ready = HTTP.get(f"{agent.url}/readyz")
        asked = len(model.seen)
        HTTP.get(f"{agent.url}/readyz")
        assert len(model.seen) == asked == 1  # a recent completion is proof enough

        model.name = "another"
        other = HTTP.get(f"{agent.url}/readyz")

    assert (ready.status_code, ready.json()) == (200, {"ready": True, "release": "r1", "model": "scripted"})
    assert other.status_code == 503
    assert other.json()["reason"] == "The endpoint serves another, not scripted. Check MODEL_ID."


def test_a_model_that_lists_itself_but_fails_every_completion_is_not_ready():
    with ScriptedModel(lambda _: Say("engine dead", status=500)) as model, running_agent(model.url) as agent:
        ready = HTTP.get(f"{agent.url}/readyz")

    assert ready.status_code == 503
    assert "did not answer" in ready.json()["reason"]


def test_readiness_is_cached_so_that_probes_are_no_load():
    with ScriptedModel(echo) as model, running_agent(model.url, completion_recent_s=1e-9, ready_cache_s=60) as agent:
        for _ in range(5):
            assert HTTP.get(f"{agent.url}/readyz").status_code == 200
        assert len(model.seen) == 1


def test_while_draining_new_requests_are_refused_and_it_is_not_ready():
    with ScriptedModel(echo) as model, running_agent(model.url) as agent:
        agent.service.draining.set()
        refused = ask(agent.url, "Hi")
        ready = HTTP.get(f"{agent.url}/readyz")

    assert error_of(refused) == (503, "shutting_down")
    assert ready.json()["reason"] == "The service is shutting down."


def test_an_old_connection_is_closed_with_an_answer(monkeypatch: pytest.MonkeyPatch):
    with ScriptedModel(echo) as model, running_agent(model.url) as agent, httpx.Client() as kept:
        young = kept.get(f"{agent.url}/healthz")
        monkeypatch.setattr(connection_age, "MOST_S", 0.0)
        old = kept.get(f"{agent.url}/healthz")

    assert "connection" not in young.headers
    assert old.headers["connection"] == "close"


def test_bedrock_without_credentials_is_reported_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with running_agent("http://127.0.0.1:9/v1", model_provider="bedrock", model_id="") as agent:
        response = ask(agent.url, "Hi")
        ready = HTTP.get(f"{agent.url}/readyz")

    assert error_of(response) == (503, "model_unavailable")
    assert "no AWS credentials" in response.json()["error"]["message"]
    assert (ready.status_code, ready.json()["model"]) == (503, "us.amazon.nova-pro-v1:0")
