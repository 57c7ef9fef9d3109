from datetime import UTC, datetime
from typing import Any

import pytest

from genai_pipeline.evaluation.agent_scoring import wrong_answer, wrong_calls
from genai_pipeline.evaluation.agent_suite import AgentTurn, PlaceWeather
from genai_pipeline.evaluation.reply import Reply, ReportedCall

AT = datetime(2026, 11, 24, 5, 32, 50, tzinfo=UTC)
WEATHER = {
    "Oslo": PlaceWeather(sky="snow showers", celsius=-3),
    "Zürich": PlaceWeather(sky="light rain", celsius=12),
}


def turn(*calls: dict[str, Any], **more: Any) -> AgentTurn:
    return AgentTurn.model_validate({"ask": "?", "calls": list(calls)} | more)


def reply(text: str = "", *calls: tuple[str, dict[str, Any]], seconds: float = 0.5, problem: str = "") -> Reply:
    return Reply(AT, seconds, text, "s", tuple(ReportedCall(n, a, "success") for n, a in calls), problem)


OSLO = ("get_weather", {"location": "Oslo"})
TOKYO = ("get_current_time", {"timezone": "Asia/Tokyo"})


@pytest.mark.parametrize(
    ("expected", "calls"),
    [
        (turn(), []),
        (turn({"get_weather": "Oslo"}), [OSLO]),
        (turn({"get_weather": "Oslo"}), [OSLO, OSLO]),
        (turn({"get_weather": "Oslo"}, {"get_current_time": "Asia/Tokyo"}), [TOKYO, OSLO]),
        (turn({"get_weather": "Zürich"}), [("get_weather", {"location": "zurich, Switzerland"})]),
        (
            turn({"get_current_time": ["Asia/Kolkata", "Asia/Calcutta"]}),
            [("get_current_time", {"timezone": "Asia/Calcutta"})],
        ),
        (turn(may_call=[{"get_current_time": "Mars/Olympus"}]), [("get_current_time", {"timezone": "Mars/Olympus"})]),
        (turn(may_call=[{"get_current_time": "Mars/Olympus"}]), []),
    ],
)
def test_right_calls_are_right_in_any_order_and_spelling(expected: AgentTurn, calls: list[Any]):
    assert wrong_calls(expected, reply("", *calls)) == ""


@pytest.mark.parametrize(
    ("expected", "calls", "told"),
    [
        (turn({"get_weather": "Oslo"}), [], "get_weather(Oslo) not called"),
        (turn(), [OSLO], "get_weather(Oslo) called"),
        (turn({"get_weather": "Oslo"}), [OSLO, TOKYO], "get_current_time(Asia/Tokyo) called"),
        (turn({"get_weather": "Oslo"}, {"get_weather": "Zürich"}), [OSLO], "get_weather(Zürich) not called"),
    ],
)
def test_wrong_calls_are_reported_by_what_is_missing_and_what_is_extra(
    expected: AgentTurn, calls: list[Any], told: str
):
    assert wrong_calls(expected, reply("", *calls)) == told


@pytest.mark.parametrize(
    "call",
    [
        ("get_weather", {"location": "Paris"}),
        ("get_current_time", {"timezone": "Oslo"}),
        ("get_weather", {"city": "Oslo"}),
        ("get_weather", {"location": "Oslo", "unit": "F"}),
        ("get_weather", {}),
        ("rm", {"location": "Oslo"}),
    ],
)
def test_a_call_of_another_tool_or_with_another_argument_is_both_missing_and_extra(call: tuple[str, dict[str, Any]]):
    told = wrong_calls(turn({"get_weather": "Oslo"}), reply("", call))

    assert told.startswith("get_weather(Oslo) not called; ")
    assert told.endswith(f"{call[0]}({', '.join(call[1].values())}) called")


def test_a_time_zone_must_be_exact():
    told = wrong_calls(turn({"get_current_time": "Asia/Tokyo"}), reply("", ("get_current_time", {"timezone": "tokyo"})))

    assert told == "get_current_time(Asia/Tokyo) not called; get_current_time(tokyo) called"


def said(expected: AgentTurn, text: str, *heard: str, seconds: float = 0.5) -> str:
    return wrong_answer(expected, reply(text, seconds=seconds), WEATHER, heard)


@pytest.mark.parametrize(
    "text",
    [
        "It is -3°C in Oslo.",
        "Oslo: −3 °C, brr",
        "It is -3 degrees.",
        "Snow showers in Oslo.",
        "It is ‑3\u202f°C (27 °F).",
        "-3 degrees Celsius, or 27 degrees Fahrenheit.",
    ],
)
def test_an_answer_with_the_true_weather_is_right(text: str):
    assert said(turn({"get_weather": "Oslo"}), text, "Oslo") == ""


@pytest.mark.parametrize("text", ["It is 3°C in Oslo.", "It is nice.", "Sunny.", "It is -30°C.", "snow showers, 8°C"])
def test_an_answer_without_the_true_weather_is_wrong(text: str):
    assert "does not say that it is -3°C (snow showers) in Oslo" in said(turn({"get_weather": "Oslo"}), text, "Oslo")


def test_both_places_of_a_question_must_be_answered():
    both = turn({"get_weather": "Oslo"}, {"get_weather": "Zürich"})

    assert said(both, "-3°C in Oslo and 12°C in Zürich", "Oslo", "Zürich") == ""
    assert said(both, "-3°C in Oslo", "Oslo", "Zürich") == "does not say that it is 12°C (light rain) in Zürich"


def test_a_temperature_that_no_one_reported_is_invented():
    assert (
        said(turn({"get_weather": "Unknownia"}, says=[["sorry"]]), "Sorry! Perhaps 20°C?", "Unknownia") == "invents 20°"
    )
    assert said(turn(), "As I said, -3°C.", "Oslo") == ""


@pytest.mark.parametrize(
    "text", ["It is 14:32 in Tokyo.", "14:31", "14:33:01", "2:32 PM", "2:32PM", "at 02:32 pm", "2:32\u202fp.m."]
)
def test_the_time_when_it_was_asked_is_right_to_a_minute_either_way(text: str):
    assert said(turn({"get_current_time": "Asia/Tokyo"}), text) == ""


@pytest.mark.parametrize("text", ["14:30", "14:34", "02:32", "2:32 AM", "214:32", "14:325", "05:32", "now"])
def test_another_time_is_wrong(text: str):
    assert said(turn({"get_current_time": "Asia/Tokyo"}), text) == "does not say that it is 14:32 in Asia/Tokyo"


def test_a_slow_answer_may_give_any_minute_until_it_came():
    assert said(turn({"get_current_time": "Asia/Tokyo"}), "14:35", seconds=125) == ""


def test_words_that_must_and_must_not_be_said_are_looked_for_in_any_case():
    expected = turn(says=[["only", "sorry"], ["weather"]], never=["Shakespeare"])

    assert said(expected, "I ONLY know the Weather.") == ""
    assert (
        said(expected, "It was shakespeare.")
        == "says none of 'only', 'sorry'; says none of 'weather'; says 'Shakespeare'"
    )


def test_an_empty_answer_and_an_error_are_wrong():
    assert said(turn(), "  ") == "the answer is empty"
    failed = reply(problem="the agent answered 502: no")
    assert wrong_answer(turn(), failed, WEATHER, []) == wrong_calls(turn(), failed) == "the agent answered 502: no"


def test_a_call_is_shown_on_any_terminal_whatever_its_arguments_hold():
    assert str(ReportedCall("get_weather", {"location": "Z\ud83d"}, "success")).encode() == b"get_weather(Z\\ud83d)"
