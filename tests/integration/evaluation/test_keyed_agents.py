"""An agent that asks for a key: the pipeline shows its own, and shows it to nobody else."""

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from genai_pipeline.core.errors import AgentUnavailable
from genai_pipeline.core.gates import AgentGates
from genai_pipeline.evaluation.agent_client import AgentClient
from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.canary import ask_one
from genai_pipeline.evaluation.evaluate import evaluate
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.evaluation.suite_files import load_agent_suite
from genai_pipeline.gateways.agent.http_agent import HttpAgent
from genai_pipeline.local.weather_server import WeatherServer
from tests.fakes.listening import Listening
from tests.fakes.running_agent import RunningAgent, running_agent
from tests.fakes.scripted_model import ScriptedModel, solves

KEY = "a-key-nobody-may-read"
VARIABLE = "AGENT_API_KEYS"


@pytest.fixture(scope="module")
def suite() -> AgentSuite:
    whole = load_agent_suite("weather")
    single = [c for c in whole.cases if len(c.turns) == 1 and "tool-error" not in c.tags and c.turns[0].calls]
    return whole.model_copy(update={"cases": tuple(single[:6])})


@pytest.fixture(scope="module")
def keyed(suite: AgentSuite) -> Iterator[RunningAgent]:
    weather = WeatherServer()
    threading.Thread(target=weather.serve_forever, daemon=True).start()
    with (
        ScriptedModel(solves(suite)) as model,
        running_agent(model.url, weather.url, api_keys=f"{KEY}, another-callers") as agent,
    ):
        yield agent
    weather.stop()


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, f" {KEY} ,another-callers")


@pytest.mark.usefixtures("key")
def test_an_agent_with_keys_is_evaluated_and_the_key_is_given_to_no_one(
    keyed: RunningAgent, suite: AgentSuite, caplog: pytest.LogCaptureFixture
):
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        found = evaluate(keyed.url, suite, AgentGates(latency_p95_s=60), on_progress=said.append)

    assert {str(v.outcome) for v in found.verdicts} == {"passed"}
    assert found.results
    told = [caplog.text, *said, str(found), found.results.to_jsonl().decode()]
    assert not [text for text in told if KEY in text]


@pytest.mark.parametrize("given", [None, "", " , ", "unknown"])
def test_without_a_key_that_it_knows_nothing_is_measured_and_the_reason_says_what_to_set(
    keyed: RunningAgent, suite: AgentSuite, monkeypatch: pytest.MonkeyPatch, given: str | None
):
    monkeypatch.setenv(VARIABLE, given) if given is not None else monkeypatch.delenv(VARIABLE, raising=False)

    found = evaluate(keyed.url, suite, AgentGates())

    assert {str(v.outcome) for v in found.verdicts} == {"inconclusive"}
    assert "answered 401" in found.verdicts[0].summary
    assert "Set AGENT_API_KEYS" in found.verdicts[0].summary
    asked = ask_one(keyed.url, suite, 0)
    assert asked.right is None
    assert "Set AGENT_API_KEYS" in asked.said
    with pytest.raises(AgentUnavailable, match="Set AGENT_API_KEYS"):
        HttpAgent(keyed.url).ask("Hello")


@pytest.mark.usefixtures("key")
def test_the_watchs_question_and_the_first_greeting_show_the_key(keyed: RunningAgent, suite: AgentSuite):
    assert ask_one(keyed.url, suite, 0).right
    assert HttpAgent(keyed.url).ask("Hello").text


@pytest.mark.parametrize(
    "headers", [{"X-Api-Key": KEY}, {"X-Api-Key": KEY, "Authorization": "Bearer of-the-api-servers-own"}]
)
def test_a_key_gets_through_where_something_before_the_agent_takes_the_authorization(
    keyed: RunningAgent, headers: dict[str, str]
):
    session = httpx.post(f"{keyed.url}/agent", json={"prompt": "Hello"}, headers=headers).json()["session_id"]

    assert httpx.get(f"{keyed.url}/sessions/{session}", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    wrong = {"X-Api-Key": "unknown", "Authorization": f"Bearer {KEY}"}
    assert httpx.get(f"{keyed.url}/sessions/{session}", headers=wrong).status_code == 401


class _Mirror(BaseHTTPRequestHandler):
    """Whatever is at an agent's address may say again what it was sent."""

    def do_POST(self) -> None:
        body = json.dumps({"error": {"message": f"I got {dict(self.headers)}"}}).encode()
        self.send_response(int(self.server.fake.status))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Mirror(Listening):
    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(_Mirror)


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("status", [401, 403, 418, 500, 503])
def test_a_key_that_is_said_again_is_in_no_reason(status: int):
    with Mirror(status) as mirror, AgentClient(mirror.address) as client:
        try:
            told = client.ask("Hello").problem
        except NotMeasured as error:
            told = error.reason
        with pytest.raises(Exception, match="I got") as refused:
            HttpAgent(mirror.address).ask("Hello")

    for text in (told, str(refused.value)):
        assert "Bearer …" in text
        assert KEY not in text
