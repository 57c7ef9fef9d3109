"""The weather service itself may say what is right; then the suite holds on weather that nobody wrote down."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genai_pipeline.core.gates import AgentGates
from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.current_weather import DEMO_ONLY, with_weather_of
from genai_pipeline.evaluation.evaluate import EvaluationSettings, evaluate
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.evaluation.suite_files import load_agent_suite
from genai_pipeline.local.weather_server import WeatherServer
from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import ScriptedModel, solves


class RealWeather(BaseHTTPRequestHandler):
    """Like wttr.in on a day that no table knows: minus forty everywhere, without a label."""

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""

    def do_GET(self) -> None:
        now = {"temp_C": "-40", "humidity": "1", "windspeedKmph": "2", "weatherDesc": [{"value": "Ash "}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"current_condition": [now]}).encode())


@pytest.fixture
def real_weather() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), RealWeather)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def suite() -> AgentSuite:
    return load_agent_suite("weather")


def test_the_demo_service_says_what_the_suite_says_and_keeps_every_case(suite: AgentSuite):
    server = WeatherServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked = with_weather_of(suite, server.url)
    server.stop()

    assert asked.cases == suite.cases
    assert {p: w.celsius for p, w in asked.weather.items()} == {p: w.celsius for p, w in suite.weather.items()}


def test_on_other_weather_the_service_is_right_and_demo_cases_are_left_out(suite: AgentSuite, real_weather: str):
    of_demo = [case for case in suite.cases if DEMO_ONLY in case.tags]
    others = [case for case in suite.cases if DEMO_ONLY not in case.tags]
    suite = suite.model_copy(update={"cases": (*of_demo[:2], *others[:8])})
    with ScriptedModel(solves(suite)) as model, running_agent(model.url, real_weather) as agent:
        told = evaluate(agent.url, suite, AgentGates(), EvaluationSettings(weather_url=real_weather))
        untold = evaluate(agent.url, suite, AgentGates())

    assert {v.check: str(v.outcome) for v in told.verdicts}["task_success"] == "passed"
    assert {row["case"] for row in told.cases} < {row["case"] for row in untold.cases}
    assert not any(DEMO_ONLY in row["tags"] for row in told.cases)
    assert {v.check: str(v.outcome) for v in untold.verdicts}["task_success"] == "failed"


def test_a_suite_of_which_every_case_is_left_out_is_inconclusive(suite: AgentSuite, real_weather: str):
    cases = tuple(case.model_copy(update={"tags": (DEMO_ONLY,)}) for case in suite.cases)
    with ScriptedModel(solves(suite)) as model, running_agent(model.url, real_weather) as agent:
        found = evaluate(
            agent.url,
            suite.model_copy(update={"cases": cases}),
            AgentGates(),
            EvaluationSettings(weather_url=real_weather),
        )

    outcomes = {v.check: str(v.outcome) for v in found.verdicts if v.check != "sessions_isolated"}
    assert outcomes == dict.fromkeys(("task_success", "tool_accuracy", "latency"), "inconclusive")


def test_without_the_weather_service_no_one_knows_what_is_right(suite: AgentSuite):
    with pytest.raises(NotMeasured, match="the weather service"):
        with_weather_of(suite, "http://127.0.0.1:9")

    report = evaluate("http://127.0.0.1:9", suite, AgentGates(), EvaluationSettings(weather_url="http://127.0.0.1:9"))
    assert {str(v.outcome) for v in report.verdicts} == {"inconclusive"}
