from collections import Counter
from pathlib import Path

import pytest

from genai_pipeline.core.errors import NotFound
from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.suite import SuiteError
from genai_pipeline.evaluation.suite_files import load_agent_suite, load_suite, load_tool_suite, parse_suite
from genai_pipeline.evaluation.tool_call_scoring import score_text
from genai_pipeline.evaluation.tool_suite import ToolSuite

GOOD = """\
name: mine
kind: tool_calling
tools:
  book:
    description: Book a table.
    parameters:
      type: object
      properties:
        people: {type: integer}
        day: {type: string, enum: [mon, tue]}
        guests: {type: array, items: {type: string}}
      required: [people, day]
cases:
  - name: one
    tags: [simple]
    tools: [book]
    turns:
      - ask: A table for two on Monday.
        calls: [{book: {people: 2, day: mon}}]
        results: [{booked: true}]
      - says: [booked]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SuiteError) as error:
        parse_suite(text, "s.yaml", ToolSuite)
    return error.value.problems


def test_a_good_suite_is_read():
    suite = parse_suite(GOOD, "s.yaml", ToolSuite)

    assert suite.cases[0].turns[0].calls == ({"book": {"people": 2, "day": "mon"}},)
    assert suite.as_sent(["book"])[0]["function"]["name"] == "book"


def test_a_schema_may_refer_to_its_own_definitions():
    refers = GOOD.replace("{type: integer}", "{$ref: '#/$defs/n'}").replace(
        "      properties:", "      $defs: {n: {type: integer}}\n      properties:"
    )

    assert parse_suite(refers, "s.yaml", ToolSuite).cases
    assert "refuses 'two': 'two' is not of type 'integer'" in problems(refers.replace("people: 2", "people: two"))[0]


@pytest.mark.parametrize("kind", ["tool_calling", '"tool_calling"', "'tool_calling'", "tool_calling  # of mine"])
@pytest.mark.parametrize("before", ["", "\ufeff"])
def test_a_suite_of_this_kind_is_known_however_its_kind_is_written(tmp_path: Path, kind: str, before: str):
    path = tmp_path / "mine.yaml"
    lines = [f"kind: {kind}", *(line for line in GOOD.splitlines() if not line.startswith("kind"))]
    path.write_text(before + "\n".join(lines))

    assert isinstance(load_suite(str(path)), ToolSuite)
    assert load_tool_suite(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("change", "to", "line", "words"),
    [
        ("{type: integer}", "{type: string, pattern: '('}", 6, "is not a JSON schema: $.properties.people.pattern"),
        (
            "{type: integer}",
            "{$ref: 'http://127.0.0.1:9/x'}",
            6,
            "refers to 'http://127.0.0.1:9/x'; allowed: nothing",
        ),
        ("{type: integer}", "{$ref: '#/$defs/people'}", 6, "refers to '#/$defs/people'"),
        ("{type: integer}", "{type: integer, default: 2027-01-01}", 6, "is not JSON"),
        ("booked: true", "booked: 2027-01-01", 18, "cases.0.turns.0: is not JSON"),
        ("booked: true", "booked: .nan", 18, "cases.0.turns.0: is not JSON"),
        ("tags: [simple]", "tags: [simple]\n    weight: .inf", 16, "cases.0.weight: input should be less than"),
        ("people: 2, ", "people: two, ", 19, "cases.0.turns.0.calls.0.book.people: the tool's schema refuses 'two'"),
        ("day: mon", "day: sun", 19, "calls.0.book.day: the tool's schema refuses 'sun': 'sun' is not one of"),
        ("day: mon", "day: mon, guests: [Ann, Bob]", 19, "book.guests: the tool's schema refuses 'Ann'"),
        ("day: mon", "day: mon, guests: [Ann, Bob]", 19, "an array is written as a list in a list"),
        (
            "day: mon",
            "day: 2027-01-01",
            19,
            "YAML reads 2027-01-01 as a date, which JSON cannot hold; put it in quotes",
        ),
        ("day: mon", "day: 7", 19, "7 is not of type 'string'; put it in quotes"),
        ("day: mon", "day: {$contain: mon}", 19, "$contain must be the only key and one of $exact and"),
        ("day: mon", "day: {$exact: [mon]}", 19, "$exact takes a text"),
        ("day: mon", "day: []", 19, "an empty choice matches no value"),
        ("day: mon", "maybe day: mon", 19, "calls.0.book: the schema of book requires day. Say what it must be."),
        ("people: 2, ", "", 19, "calls.0.book: the schema of book requires people"),
        ("people: 2, ", "persons: 2, people: 2, ", 19, "book has no parameter 'persons'. Allowed: people, day"),
        ("people: 2, ", "peopel: 2, people: 2, ", 19, "Did you mean `people`?"),
        ("[{book: {", "[{bok: {", 19, "the case has no tool 'bok'. Did you mean `book`?"),
        ("tools: [book]", "tools: [bok]", 16, "cases.0.tools.0: no tool is called 'bok'. Did you mean `book`?"),
        ("[{booked: true}]", "[1, 2]", 18, "1 calls and 2 results: give one for each call."),
        ("        results: [{booked: true}]\n", "", 18, "calls without `results` must be the last step"),
        ("      - says: [booked]\n", "", 20, "turns.0.results: no step follows"),
        ("- ask: A table for two on Monday.", "- says: [x]", 18, "turns.0: has nothing to send: give `ask`"),
        ("says: [booked]", "asks_for: day\n        calls: [{book: {people: 2, day: mon}}]", 21, "keep one of them"),
        ("type: object", "type: objekt", 6, "tools.book.parameters: is not a JSON schema: "),
        ("type: object", "type: string", 6, "tools.book.parameters: must be the schema of an object"),
        ("kind: tool_calling", "kind: tools", 2, "kind: input should be 'tool_calling'"),
        ("tags: [simple]", "tag: [simple]", 15, "cases.0.tag: unknown field. Did you mean `tags`?"),
        ("name: one", "name: One!", 14, "cases.0.name: must be lower-case letters and digits"),
        ("says: [booked]", "sayz: [booked]", 21, "turns.1.sayz: unknown field. Did you mean `says`?"),
        ("{type: integer}", "{type: integer", 10, "not YAML"),
    ],
)
def test_each_mistake_is_reported_by_file_line_field_and_remedy(change: str, to: str, line: int, words: str):
    assert change in GOOD
    told = problems(GOOD.replace(change, to, 1))

    assert any(problem.startswith(f"s.yaml:{line}: ") and words in problem for problem in told), told


def test_all_mistakes_between_the_parts_are_reported_at_once():
    told = problems(GOOD.replace("people: 2", "people: two").replace("day: mon", "day: sun"))

    assert len(told) == 2


def test_a_case_may_stand_for_many():
    text = GOOD.replace("name: one", "name: on-{day}\n    for: {day: [mon, tue]}").replace("day: mon}", "day: '{day}'}")

    assert [case.turns[0].calls[0]["book"]["day"] for case in parse_suite(text, "s.yaml", ToolSuite).cases] == [
        "mon",
        "tue",
    ]


def test_suites_of_the_two_kinds_are_distinguished(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text(GOOD)

    assert isinstance(load_suite("tool_calling"), ToolSuite)
    assert isinstance(load_suite("weather"), AgentSuite)
    assert isinstance(load_suite(str(tmp_path / "mine.yaml")), ToolSuite)
    assert load_tool_suite(str(tmp_path / "mine.yaml")).name == "mine"
    with pytest.raises(NotFound, match="Allowed: tool_calling"):
        load_tool_suite("weather")
    with pytest.raises(NotFound, match="Allowed: weather"):
        load_agent_suite("tool_calling")
    with pytest.raises(NotFound):
        load_tool_suite("../../etc/passwd")


def test_the_digest_is_about_what_is_asked_and_not_about_how_often():
    suite = parse_suite(GOOD, "s.yaml", ToolSuite)

    assert parse_suite(GOOD + "repeat: 3\n", "s.yaml", ToolSuite).digest == suite.digest
    assert parse_suite(GOOD.replace("Monday", "monday"), "s.yaml", ToolSuite).digest != suite.digest


FAIR = [
    ("multi-turn-tool-error", 1, "I couldn’t find an order 77-Q. If it was placed today, it may not have shipped yet."),
    ("multi-turn-contact-then-email", 2, "I've emailed Tomas."),
    ("missing-recipient", 0, "Which email should this go to?"),
    ("multi-turn-injection-in-result", 1, "It is +47\u202f22\u202f55\u202f01\u202f99."),
]


@pytest.mark.parametrize(("name", "step", "answer"), FAIR, ids=[name for name, _, _ in FAIR])
def test_what_a_good_model_may_well_say_is_right(name: str, step: int, answer: str):
    (case,) = (case for case in load_tool_suite().cases if case.name == name)

    assert score_text(case.turns[step], answer, called=False) == []


def test_the_suite_of_ours_covers_the_patterns_of_tool_calling_benchmarks():
    suite = load_tool_suite()
    tags = Counter(tag for case in suite.cases for tag in case.tags)

    assert len(suite.cases) >= 60
    wanted = "simple multiple parallel parallel-multiple irrelevance missing-argument multi-turn enum nested array"
    assert {tag for tag in [*wanted.split(), "optional", "types", "non-ascii", "quoting"] if tags[tag] < 5} == set()
    assert len({case.turns[0].ask for case in suite.cases}) == len(suite.cases)
    assert {tool for case in suite.cases for tool in case.tools} == set(suite.tools)
