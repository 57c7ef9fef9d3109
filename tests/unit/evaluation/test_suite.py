from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

from genai_pipeline.core.errors import NotFound
from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.isolation import run_isolation
from genai_pipeline.evaluation.reply import Reply
from genai_pipeline.evaluation.suite import SuiteError
from genai_pipeline.evaluation.suite_files import load_agent_suite, parse_suite
from genai_pipeline.local.weather_server import broken_place, known_weather

GOOD = """\
name: s
weather: {Oslo: {sky: snow, celsius: -3}}
isolation: {ask: "Weather in {place}?", follow_up: "And now?", places: [Plzeň, Tromsø]}
cases:
  - name: one
    tags: [weather]
    turns:
      - ask: Weather in Oslo?
        calls: [{get_weather: Oslo}]
        says: [snow, [a, b]]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SuiteError) as error:
        parse_suite(text, "s.yaml")
    return error.value.problems


def test_a_suite_is_read_with_choices_and_groups():
    turn = parse_suite(GOOD.replace("Oslo}]", "[Oslo, Oslo Sentrum]}]"), "s.yaml").cases[0].turns[0]

    assert turn.expected == [("get_weather", ("Oslo", "Oslo Sentrum"))]
    assert turn.says == (("snow",), ("a", "b"))


@pytest.mark.parametrize(
    ("change", "to", "line", "words"),
    [
        ("name: one", "nam: one", 5, "cases.0.name: "),
        ("tags: [weather]", "tags: [weather]\n    tag: x", 7, "cases.0.tag: unknown field"),
        ("tags: [weather]", "tags: []", 6, "cases.0.tags"),
        ("name: one", "name: One Two", 5, "cases.0.name: must be lower-case letters and digits"),
        ("get_weather: Oslo", "get_wether: Oslo", 9, "allowed: get_weather and get_current_time"),
        ("get_weather: Oslo", "get_current_time: Norway/Oslo", 9, "'Norway/Oslo' is not an IANA time zone"),
        ("celsius: -3", "celsius: cold", 2, "weather.Oslo.celsius: input should be a valid integer"),
        ("places: [Plzeň, Tromsø]", "places: [Plzeň]", 3, "isolation.places"),
        ("places: [Plzeň, Tromsø]", "places: [Plzeň, Plzeň]", 3, "a place is named twice"),
        ("And now?", "And in {place}?", 3, "must not name the place"),
        ("name: s", "nome: s", 1, "name: "),
        ("places: [Plzeň, Tromsø]", "places: [Plzeň, PLZEN]", 3, "a place is named twice"),
        ("places: [Plzeň, Tromsø]", "places: [York, New York]", 3, "is part of the name of another: york"),
        ("tags: [weather]", "tags: [weather]\n    weight: .inf", 7, "cases.0.weight: input should be less than"),
        ("tags: [weather]", "tags: [weather]\n    weight: .nan", 7, "cases.0.weight: input should be"),
        ("tags: [weather]", "tags: [weather]\n    weight: 0", 7, "cases.0.weight: input should be"),
        ("tags: [weather]", "tags: [weather]\n    weight: yes", 7, "cases.0.weight: input should be a valid number"),
        ("tags: [weather]", "tags: [weather]\n    repeat: yes", 7, "cases.0.repeat: input should be a valid integer"),
        ("tags: [weather]", "tags: [weather]\n    repeat: 1000000000", 7, "cases.0.repeat: input should be less than"),
        ("celsius: -3", "celsius: yes", 2, "weather.Oslo.celsius: input should be a valid integer"),
        ("celsius: -3", "celsius: " + "9" * 5000, 2, "a value cannot be read"),
        ("ask: Weather in Oslo?", "ask: 2026-02-30", 8, "day is out of range for month"),
        ("says: [snow, [a, b]]", "says: [snow, []]", 10, "turns.0.says.1: "),
        ("get_weather: Oslo", "get_weather: []", 9, "calls.0.get_weather: "),
        ("tags: [weather]", "tags: weather", 6, "cases.0.tags: must be a list"),
        ("tags: [weather]", "tags:", 6, "cases.0.tags: must be a list"),
        ("celsius: -3", "celsius: -3}, Rome: clear, Paris: {sky: clear, celsius: 1", 2, "Rome: must be a mapping"),
        ("name: one", "name: [one]", 5, "cases.0.name: must be text"),
        ("name: s", "name: !!python/object/apply:os.system [id]", 1, "could not determine a constructor for the tag"),
    ],
)
def test_each_mistake_is_reported_by_file_line_field_and_remedy(change: str, to: str, line: int, words: str):
    told = problems(GOOD.replace(change, to))

    assert any(problem.startswith(f"s.yaml:{line}: ") and words in problem for problem in told), told


def test_a_case_name_given_twice_is_refused():
    again = GOOD[GOOD.index("  - name: one") :]

    assert "two cases have the name 'one'" in problems(GOOD + again)[0]


@pytest.mark.parametrize("text", ["", "[]", "name: [", "just words"])
def test_what_is_no_suite_at_all_is_refused_with_a_line(text: str):
    assert problems(text)[0].startswith("s.yaml:1: ")


def test_the_prompt_of_the_sessions_may_hold_braces():
    class Agent:
        asked: ClassVar[list[str]] = []

        def ask(self, prompt: str, session_id: str) -> Reply:
            self.asked.append(prompt)
            return Reply(datetime.now(UTC), 0.1)

    isolation = parse_suite(GOOD.replace("Weather in {place}?", "{place} {x} {"), "s.yaml").isolation

    run_isolation(Agent(), isolation)  # pyright: ignore[reportArgumentType]

    assert set(Agent.asked) == {"Plzeň {x} {", "Tromsø {x} {", "And now?"}


def test_an_unknown_suite_is_refused_with_the_known_ones():
    with pytest.raises(NotFound, match="Allowed: weather"):
        load_agent_suite("wether")
    with pytest.raises(NotFound):
        load_agent_suite("../../etc/passwd")


def test_another_folder_may_hold_suites(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(GOOD)

    assert load_agent_suite("mine", tmp_path).name == "s"


@pytest.fixture(scope="module")
def weather_suite() -> AgentSuite:
    return load_agent_suite("weather")


def test_the_weather_suite_covers_what_users_ask(weather_suite: AgentSuite):
    tags = {tag for case in weather_suite.cases for tag in case.tags}

    assert len(weather_suite.cases) >= 30
    assert tags >= {"weather", "time", "zone", "city", "follow-up", "two-places", "small-talk", "off-topic"}
    assert tags >= {"tool-error", "non-ascii", "several-words", "injection", "advice"}


def test_the_weather_suite_knows_the_weather_that_the_demo_service_reports(weather_suite: AgentSuite):
    for place, weather in weather_suite.weather.items():
        served = known_weather(place)
        assert served is not None, place
        assert (served.celsius, served.description.casefold()[: len(weather.sky)]) == (weather.celsius, weather.sky)


def test_every_place_the_suite_asks_for_is_known_broken_or_meant_to_be_unknown(weather_suite: AgentSuite):
    turns = [(case, turn) for case in weather_suite.cases for turn in case.turns]
    for case, turn in turns:
        for place in (p for places in turn.arguments_of("get_weather") for p in places):
            assert place in weather_suite.weather or broken_place(place) or case.name == "unknown-place", place
    assert all(known_weather(place) for place in weather_suite.isolation.places)


def test_places_asked_for_together_differ_in_weather(weather_suite: AgentSuite):
    for case in weather_suite.cases:
        for turn in case.turns:
            places = [p for choices in turn.arguments_of("get_weather") for p in choices if p in weather_suite.weather]
            assert len({weather_suite.weather[p].celsius for p in places}) == len(places), case.name
