"""One known question to a live agent: right, wrong, or nothing known."""

from datetime import UTC, datetime

import pytest

from genai_pipeline.evaluation import canary
from genai_pipeline.evaluation.reply import NotMeasured, Reply, ReportedCall
from genai_pipeline.evaluation.suite_files import load_agent_suite

SUITE = load_agent_suite("weather")


@pytest.fixture
def agent(monkeypatch):
    """Every question is answered by `agent.reply`, or by its error."""

    class Agent:
        reply, asked = None, []

        def __init__(self, url, timeout_s):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def ask(self, prompt):
            Agent.asked.append(prompt)
            if isinstance(Agent.reply, Exception):
                raise Agent.reply
            return Agent.reply

    Agent.asked = []
    monkeypatch.setattr(canary, "AgentClient", Agent)
    return Agent


def reply(place="Berlin", text="It is 9°C in Berlin: overcast."):
    return Reply(datetime.now(UTC), 0.5, text, "s", (ReportedCall("get_weather", {"location": place}, "success"),))


def test_a_right_answer_with_the_right_tool_is_right(agent):
    agent.reply = reply()

    answered = canary.ask_one("http://agent", SUITE, 0)

    assert (answered.case, answered.right) == ("weather-plain", True)
    assert agent.asked == ["What is the weather in Berlin?"]


@pytest.mark.parametrize("wrong", [reply("Paris"), reply(text="It is 30°C in Berlin.")])
def test_the_wrong_tool_or_the_wrong_facts_are_wrong(agent, wrong):
    agent.reply = wrong

    answered = canary.ask_one("http://agent", SUITE, 0)

    assert answered.right is False
    assert answered.said


def test_an_agent_that_answers_with_an_error_of_its_own_is_wrong(agent):
    agent.reply = Reply(datetime.now(UTC), 0.5, problem="the agent answered 500: model unreachable")

    assert canary.ask_one("http://agent", SUITE, 0).right is False


def test_no_answer_says_nothing(agent):
    agent.reply = NotMeasured("did not answer within 15 s")

    answered = canary.ask_one("http://agent", SUITE, 0)

    assert (answered.right, answered.said) == (None, "did not answer within 15 s")


def test_no_one_knows_what_is_right_where_the_weather_service_is_silent(agent):
    answered = canary.ask_one("http://agent", SUITE, 0, weather_url="http://127.0.0.1:9")

    assert answered.right is None
    assert not agent.asked


def test_the_cases_take_turns_and_those_that_were_never_solved_are_left_out(agent):
    agent.reply = reply()

    asked = [canary.ask_one("http://agent", SUITE, n, unsolved=["weather-plain"]).case for n in range(60)]

    assert "weather-plain" not in asked
    assert len(set(asked)) > 5
    assert asked[0] == asked[len(set(asked))]


def test_a_suite_in_which_no_case_fits_asks_nothing(agent):
    every = [case.name for case in SUITE.cases]

    assert canary.ask_one("http://agent", SUITE, 0, unsolved=every).right is None
    assert not agent.asked
