"""Several models behind one agent: which one answers, and how one that fails is left out and comes back."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from genai_pipeline.agent.settings import Settings, SettingsError
from tests.fakes.openai_server import FakeEngine
from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.wild_model import Talk, WildModel, call, delta, text

HTTP = httpx.Client(timeout=60)
STOP, CALLS = delta("stop"), delta("tool_calls")
UTC = '{"timezone": "UTC"}'
DEADLINE_S = 60


def says(words: str) -> Callable[[Talk], Any]:
    return lambda talk: talk.stream(text(words), STOP)


def fails(status: int, message: str = "no") -> Callable[[Talk], Any]:
    return lambda talk: talk.error(status, message)


def both(first: WildModel, second: WildModel, **settings: Any) -> Any:
    fallbacks = f"openai:second@{second.url}"
    return running_agent(first.url, model_fallbacks=fallbacks, **{"deadline_s": 60.0} | settings)


def ask(agent: RunningAgent, prompt: str = "Hi", session_id: str | None = None) -> httpx.Response:
    body = {"prompt": prompt} | ({"session_id": session_id} if session_id else {})
    return HTTP.post(f"{agent.url}/agent", json=body)


def metric(agent: RunningAgent, name: str, **labels: str) -> float:
    text = HTTP.get(f"{agent.url}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


def until(condition: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < ends_at, "never came true"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("first", "outcome"),
    [
        (fails(500), "failed"),
        (fails(503), "failed"),
        (fails(429), "busy"),
        (fails(401), "failed"),
        (fails(404), "failed"),
        (lambda talk: talk.reset(), "failed"),
        (lambda talk: talk.wait(), "failed"),
        (lambda talk: talk.stream(stall=True), "failed"),
        (lambda talk: talk.stream(b"data: {broken\n\n"), "failed"),
        (lambda talk: talk.stream(STOP), "unusable"),
        (lambda talk: talk.stream(call("get_current_time", "{"), CALLS), "unusable"),
    ],
)
def test_the_next_model_answers_where_the_first_does_not(first: Callable[[Talk], Any], outcome: str):
    with (
        WildModel(first) as one,
        WildModel(says("from two"), "second") as two,
        both(one, two, model_timeout_s=1.0) as agent,
    ):
        response = ask(agent)

        assert (response.status_code, response.json()["response"]) == (200, "from two")
        assert metric(agent, "agent_completions_total", asked_model="scripted", outcome=outcome) >= 1
        assert metric(agent, "agent_completions_total", asked_model="second", outcome="answered") == 1
        assert metric(agent, "agent_tokens_total", kind="completion") == 3


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (fails(400, "bad request"), (502, "model_refused")),
        (fails(422, "bad request"), (502, "model_refused")),
        (fails(400, "maximum context length is 2048 tokens"), (413, "conversation_too_long")),
    ],
)
def test_what_is_the_callers_fault_is_asked_of_no_one_else_and_opens_nothing(
    first: Callable[[Talk], Any], expected: tuple[int, str]
):
    with (
        WildModel(first) as one,
        WildModel(says("from two"), "second") as two,
        both(one, two, model_breaker_failures=2) as agent,
    ):
        answers = [ask(agent) for _ in range(3)]

        assert [(a.status_code, a.json()["error"]["code"]) for a in answers] == [expected] * 3
        assert two.asked == []
        assert metric(agent, "agent_breaker_state", asked_model="scripted", state="closed") == 1


@pytest.mark.parametrize(
    "first",
    [lambda talk: talk.stream(text("Once upon"), stall=True), lambda talk: talk.stream(text("Once"), done=False)],
)
def test_two_models_words_are_never_mixed(first: Callable[[Talk], Any]):
    with (
        WildModel(first) as one,
        WildModel(says("from two"), "second") as two,
        both(one, two, model_timeout_s=1.0) as agent,
    ):
        response = ask(agent)

    assert response.status_code in (502, 504)
    assert two.asked == []


def test_a_conversation_goes_on_with_the_next_model_and_back():
    def first(talk: Talk) -> None:
        if talk.last == "one":
            talk.stream(call("get_current_time", UTC), CALLS)
        elif talk.answers_a_tool:
            talk.error(500)
        else:
            says("three")(talk)

    with WildModel(first) as one, WildModel(says("from two"), "second") as two, both(one, two) as agent:
        answer = ask(agent, "one").json()
        assert answer["response"] == "from two"  # the call is the first model's, the words are the second's
        assert [t["status"] for t in answer["tools"]] == ["success"]
        assert [m["role"] for m in two.asked[0]["messages"]] == ["system", "user", "assistant", "tool"]

        assert ask(agent, "three", answer["session_id"]).json()["response"] == "three"
        assert [m["role"] for m in one.asked[-1]["messages"]][-2:] == ["assistant", "user"]


def test_a_dead_model_is_left_out_and_comes_back_by_a_probe():
    behaviour = {"now": fails(500)}
    with (
        WildModel(lambda talk: behaviour["now"](talk)) as one,
        WildModel(says("from two"), "second") as two,
        both(one, two, model_breaker_failures=2, model_breaker_pause_s=0.3) as agent,
    ):
        assert [ask(agent).json()["response"] for _ in range(2)] == ["from two"] * 2
        until(lambda: metric(agent, "agent_breaker_state", asked_model="scripted", state="closed") == 0)
        asked = len(one.asked)
        assert [ask(agent).json()["response"] for _ in range(3)] == ["from two"] * 3
        assert len(one.asked) == asked
        assert metric(agent, "agent_completions_total", asked_model="scripted", outcome="left_out") == 3

        until(lambda: one.probes >= 2)  # it is asked again and again, by nobody's request
        behaviour["now"] = says("from one")
        until(lambda: metric(agent, "agent_breaker_state", asked_model="scripted", state="closed") == 1)
        assert ask(agent).json()["response"] == "from one"


def test_no_one_waits_for_a_model_that_hangs_once_it_is_known():
    with (
        WildModel(lambda talk: talk.wait()) as one,
        WildModel(says("from two"), "second") as two,
        both(one, two, model_timeout_s=4.0, model_breaker_failures=1, model_breaker_pause_s=0.1) as agent,
        ThreadPoolExecutor(8) as pool,
    ):
        assert ask(agent).json()["response"] == "from two"
        until(lambda: metric(agent, "agent_breaker_state", asked_model="scripted", state="closed") == 0)
        hung = len(one.asked)
        assert {a.json()["response"] for a in pool.map(lambda _: ask(agent), range(16))} == {"from two"}

        assert len(one.asked) == hung


def test_where_no_model_answers_all_are_named_with_why():
    with WildModel(fails(500)) as one, WildModel(fails(401), "second") as two, both(one, two) as agent:
        response = ask(agent)
        ready = HTTP.get(f"{agent.url}/readyz")

    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (503, "model_unavailable")
    assert "Retry-After" in response.headers
    assert re.search(r"scripted at .*InternalServerError; second at .*AuthenticationError", error["message"])
    assert ready.status_code == 503
    assert "second at" in ready.json()["reason"]


def test_a_fallback_keeps_the_service_ready_and_is_noted():
    with WildModel(fails(500)) as one, WildModel(says("hello"), "second") as two, both(one, two) as agent:
        ready = HTTP.get(f"{agent.url}/readyz")

    assert ready.status_code == 200
    assert ready.json()["note"].startswith(f"scripted at {one.url}: The model 'scripted'")


def test_where_all_are_left_out_the_readiness_probe_takes_one_in_again():
    behaviour = {"now": fails(500)}
    with (
        WildModel(lambda talk: behaviour["now"](talk)) as model,
        running_agent(model.url, model_breaker_failures=1, model_breaker_pause_s=600.0) as agent,
    ):
        assert ask(agent).status_code == 503
        behaviour["now"] = says("back")
        until(lambda: HTTP.get(f"{agent.url}/readyz").status_code == 200)
        assert ask(agent).json()["response"] == "back"


def test_the_only_model_that_is_left_out_says_when_to_come_back():
    with (
        WildModel(fails(500)) as model,
        running_agent(model.url, model_breaker_failures=1, model_breaker_pause_s=30.0) as agent,
    ):
        ask(agent)
        response = ask(agent)

    assert (response.status_code, response.json()["error"]["code"]) == (503, "model_unavailable")
    assert 20 <= int(response.headers["Retry-After"]) <= 30
    assert "failed repeatedly" in response.json()["error"]["message"]


def test_a_connection_that_was_dropped_is_no_failure():
    dropped: list[int] = []

    def behave(talk: Talk) -> None:
        if dropped:
            says("here")(talk)
        else:
            dropped.append(1)
            talk.reset()

    with WildModel(behave) as model, running_agent(model.url, model_breaker_failures=1) as agent:
        assert ask(agent).json()["response"] == "here"


def test_completions_one_after_the_other_share_a_connection():
    with FakeEngine("scripted") as engine, running_agent(f"{engine.url}/v1") as agent:
        assert [ask(agent).status_code for _ in range(10)] == [200] * 10

        assert len(engine.requests) == 10
        assert engine.connections == 1


def test_a_client_that_leaves_says_nothing_of_the_model():
    with (
        WildModel(lambda talk: talk.stream(text("a"), stall=True)) as model,
        running_agent(model.url, model_breaker_failures=1) as agent,
    ):
        with HTTP.stream(
            "POST", f"{agent.url}/agent", json={"prompt": "Hi"}, headers={"Accept": "text/event-stream"}
        ) as stream:
            assert any("delta" in line for line in stream.iter_lines())
        until(lambda: metric(agent, "agent_completions_total", outcome="abandoned") == 1)
        assert metric(agent, "agent_breaker_state", state="closed") == 1


@pytest.mark.parametrize(
    ("fallbacks", "keys", "said"),
    [
        ("gpt-4", "", "must begin with openai: or bedrock:"),
        ("openai:", "", "names no model"),
        ("openai:m@http://", "", "is not an http(s) address"),
        ("bedrock:m@https://h/v1", "", "Bedrock has no address"),
        ("openai:a,openai:b", "k", "2 fallbacks but 1 key"),
        ("openai:a@http://h/v1,openai:a@http://h/v1", "", "would be asked twice"),
        ("openai:weather-agent", "", "would be asked twice"),
    ],
)
def test_a_fallback_that_is_written_wrong_is_reported(fallbacks: str, keys: str, said: str):
    with pytest.raises(SettingsError) as error:
        Settings.load({"MODEL_FALLBACKS": fallbacks, "MODEL_FALLBACK_API_KEYS": keys})

    assert str(error.value).startswith("MODEL_FALLBACKS: ")
    assert said in str(error.value)


def test_a_key_is_sent_only_where_it_belongs():
    found = Settings.load({
        "MODEL_API_KEY": "own", "MODEL_BASE_URL": "http://h:1/v1",
        "MODEL_FALLBACKS": "openai:m@r,openai:m@https://other/v1,bedrock:",
    }).endpoints  # fmt: skip

    assert [(e.model, e.where, e.api_key) for e in found[1:]] == [
        ("m@r", "http://h:1/v1", "own"),
        ("m", "https://other/v1", "none"),
        ("us.amazon.nova-pro-v1:0", "Amazon Bedrock", "none"),
    ]
    assert "own" not in repr(found)


def test_breaker_opens_by_share_and_half_opens_after_its_pause():
    from genai_pipeline.agent.models.breaker import WINDOW, Breaker

    now, states = [0.0], []
    breaker = Breaker(100, 0.5, 4.0, states.append, lambda: now[0])
    for i in range(WINDOW):
        (breaker.failed if i % 2 else breaker.succeeded)()
    assert (states, breaker.left_s) == (["open"], 4.0)
    breaker.succeeded()  # one that was on its way
    now[0] = 4.0
    breaker.half_open()
    breaker.failed()
    assert (breaker.state, breaker.left_s) == ("open", 4.0)
    breaker.half_open()
    breaker.succeeded()
    breaker.failed()
    assert states == ["open", "half_open", "open", "half_open", "closed"]
