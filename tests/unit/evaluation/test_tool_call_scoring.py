import json
from typing import Any

import pytest

from genai_pipeline.evaluation.argument_pattern import differences, examples
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome
from genai_pipeline.evaluation.tool_call_scoring import raw_call, score_calls, score_text
from genai_pipeline.evaluation.tool_suite import ToolStep, ToolSuite
from genai_pipeline.evaluation.verdicts import judge_tool_calling, rates_by_tag
from genai_pipeline.gateways.inference.chat_answer import RawCall

SUITE = ToolSuite.model_validate(
    {
        "name": "s",
        "kind": "tool_calling",
        "tools": {
            "weather": {
                "description": "Weather.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "default": "c"}},
                    "required": ["city"],
                },
            },
            "stop": {"description": "Stop."},
        },
        "cases": [{"name": "a", "tags": ["x"], "tools": ["weather", "stop"], "turns": [{"ask": "?"}]}],
    }
)


def wrong(made: list[tuple[str, Any]], /, **step: Any) -> str:
    raw = [RawCall(f"c{i}", n, a if isinstance(a, str) else json.dumps(a)) for i, (n, a) in enumerate(made)]
    return "; ".join(score_calls(SUITE, ["weather", "stop"], ToolStep.model_validate(step), raw).wrong)


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("Paris", " paris ", True),
        ("Paris", "Paris, France", False),
        (["Paris", "Lutetia"], "lutetia", True),
        ("Zu\u0308rich", "Z\u00fcrich", True),
        ("Zürich", "Zurich", False),
        ({"$exact": "Ab"}, "ab", False),
        ({"$contains": ["x", "Y"]}, "y and X", True),
        ({"$contains": "x"}, 3, False),
        (5, 5.0, True),
        (5, "5", False),
        ("5", 5, False),
        (1, True, False),
        (True, 1, False),
        (0.1 + 0.2, 0.3, True),
        (None, None, True),
        (None, "null", False),
        ([["a", "b"]], ["a", "b"], True),
        ([["a", "b"]], ["b", "a"], False),
        ([["a", "b"]], ["a"], False),
        ([["a"], ["b"]], ["b"], True),
        ([["a"]], "a", False),
        ([[{"k": [1, 2]}]], [{"k": 2}], True),
        ({"k": 1, "maybe l": 2}, {"k": 1}, True),
        ({"k": 1, "maybe l": 2}, {"k": 1, "l": 3}, False),
        ({"k": 1}, {"k": 1, "m": 1}, False),
        ({"k": 1}, "k", False),
    ],
)
def test_a_value_fits_its_pattern(pattern: Any, value: Any, fits: bool):
    assert (differences(pattern, value, {}, "x") == []) is fits


@pytest.mark.parametrize(
    "pattern", ["a", ["a", "b"], [["a", ["b", "c"]], ["d"]], {"a": [1, 2], "maybe b": {"$contains": ["x", "y"]}}]
)
def test_every_example_of_a_pattern_fits_it(pattern: Any):
    found = list(examples(pattern))

    assert found
    assert [value for value in found if differences(pattern, value, {}, "x")] == []


def test_what_was_not_written_down_may_only_be_given_as_the_schemas_default():
    calls: list[Any] = [{"weather": {"city": "Oslo"}}]

    assert wrong([("weather", {"city": "Oslo", "unit": "c"})], calls=calls) == ""
    assert wrong([("weather", {"city": "Oslo", "unit": ""})], calls=calls) == ""
    maybe: list[Any] = [{"weather": {"city": "Oslo", "maybe unit": "f"}}]
    assert wrong([("weather", {"city": "Oslo", "unit": ""})], calls=maybe) == ""
    assert wrong([("weather", {"city": ""})], calls=calls) == "weather: city is '', not 'Oslo'"
    assert wrong([("weather", {"city": "Oslo", "unit": "f"})], calls=calls) == "weather: unit = 'f' is invented"
    assert wrong([("weather", {"city": "Oslo"})], calls=[{"weather": {"city": "Oslo", "unit": "c"}}]) == ""
    assert "unit is missing" in wrong(
        [("weather", {"city": "Oslo"})], calls=[{"weather": {"city": "Oslo", "unit": "f"}}]
    )


def test_calls_fit_in_any_order_and_a_choice_does_not_starve_the_others():
    calls = [{"weather": {"city": ["Oslo", "Rome"]}}, {"weather": {"city": "Oslo"}}, "stop"]

    assert wrong([("stop", ""), ("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})], calls=calls) == ""
    found = score_calls(
        SUITE,
        ["weather", "stop"],
        ToolStep.model_validate({"calls": calls}),
        [
            RawCall("1", "stop", "{}"),
            RawCall("2", "weather", '{"city":"Oslo"}'),
            RawCall("3", "weather", '{"city":"Rome"}'),
        ],
    )
    assert found.matched == [2, 1, 0]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ([], "weather(city='Oslo') not called"),
        ([("weather", {"city": "Rome"})], "weather: city is 'Rome', not 'Oslo'"),
        ([("weather", {"city": "Oslo"})] * 2, "weather(city='Oslo') called, which nothing asked for"),
        ([("weather", {"city": "Oslo"}), ("stop", {})], "stop() called, which nothing asked for"),
        (
            [("wether", {"city": "Oslo"})],
            "wether called, which is not one of its tools; weather(city='Oslo') not called",
        ),
        ([("weather", '{"city": "Oslo"')], 'the arguments of weather are not a JSON object: \'{"city": "Oslo"\''),
        ([("weather", "[1]")], "the arguments of weather are not a JSON object: '[1]'"),
        ([("weather", '{"city": NaN}')], "the arguments of weather are not a JSON object: '{\"city\": NaN}'"),
        ([("weather", {})], "weather: 'city' is a required property"),
        ([("weather", {"city": 5})], "weather.city: 5 is not of type 'string'"),
    ],
)
def test_what_is_wrong_about_calls_is_said_once_and_plainly(made: list[tuple[str, Any]], told: str):
    assert wrong(made, calls=[{"weather": {"city": "Oslo"}}]) == told


def test_a_tolerated_call_is_neither_needed_nor_wrong():
    assert wrong([("stop", {})], may_call=["stop"]) == ""
    assert wrong([], may_call=["stop"]) == ""
    assert wrong([("weather", {"city": "Oslo"})], may_call=["stop"]) != ""


@pytest.mark.parametrize(
    ("step", "text", "called", "told"),
    [
        ({"asks_for": ["date", "when"]}, "When would you like to fly?", False, ""),
        ({"asks_for": ["date"]}, "Please tell me the date.", False, ""),
        (
            {"asks_for": ["date"]},
            "Flights on the date of today: LH 1.",
            False,
            "does not ask for what is missing (date)",
        ),
        ({"asks_for": ["date"]}, "What else can I do?", False, "does not ask for what is missing (date)"),
        ({"says": [["a", "b"]]}, "B it is", False, ""),
        ({"says": [["a"], ["zz"]]}, "a", False, "says none of 'zz'"),
        ({"never": ["shipped"]}, "It was Shipped.", False, "says 'shipped'"),
        ({"says": [["couldn't"], ["A3-803"], ["22 55"]]}, "I couldn’t: A3‑803, 22\u00a055", False, ""),
        ({}, " ", False, "neither calls nor says anything"),
        ({}, "", True, ""),
    ],
)
def test_what_is_wrong_about_a_text_is_said(step: dict[str, Any], text: str, called: bool, told: str):
    assert "; ".join(score_text(ToolStep.model_validate(step), text, called)) == told


@pytest.mark.parametrize(
    "text",
    [
        '[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}',
        '<tool_call>\n{"name": "weather", "arguments": {}}\n</tool_call>',
        '<|python_tag|>{"name": "weather", "parameters": {}}',
        'Sure: {"name": "weather", "arguments": {"city": "Oslo"}}',
        '<function=weather>{"city": "Oslo"}</function>',
    ],
)
def test_a_call_that_an_engine_left_in_the_text_is_known(text: str):
    assert "--tool-call-parser" in raw_call(text)
    assert raw_call("Call me when the weather has a name.") == ""


def case(name: str, solved: bool | None, weight: float = 1.0, tag: str = "x") -> CaseOutcome:
    return CaseOutcome(name, (tag,), weight, (RunOutcome(solved, solved, "" if solved else f"why {name}"),))


@pytest.mark.parametrize(
    ("cases", "outcome"),
    [
        ([case("a", True)] * 9 + [case("b", False)], "passed"),
        ([case("a", True)] * 8 + [case("b", False)] * 2, "failed"),
        ([case("a", True)] * 8 + [case("b", False), case("c", None)], "inconclusive"),
        ([case("a", True)] * 9 + [case("c", None)], "passed"),
        ([case("a", True)] * 7 + [case("b", False)] * 2 + [case("c", None)], "failed"),
        ([case("a", True, weight=18), case("b", False, weight=2)], "passed"),
        ([case("a", True, weight=2), case("b", False, weight=1)], "failed"),
        ([case("c", None)], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_a_verdict_is_given_only_where_the_unmeasured_cannot_change_it(cases: list[CaseOutcome], outcome: str):
    verdict = judge_tool_calling(cases, 0.9)

    assert verdict.outcome == outcome
    assert json.loads(json.dumps(verdict.to_json()))["check"] == "tool_calling"


def test_rates_are_given_by_tag_over_what_was_measured():
    rows = rates_by_tag([case("a", True), case("b", False), case("c", None, tag="y")])

    assert rows == [
        {"tag": "x", "cases": 2, "solved": 1, "not_measured": 0, "rate": 0.5},
        {"tag": "y", "cases": 1, "solved": 0, "not_measured": 1, "rate": None},
    ]
