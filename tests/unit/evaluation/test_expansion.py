"""Entries that stand for many cases: what they become, and what is said of those that cannot."""

import pytest

from genai_pipeline.evaluation.agent_suite import AgentSuite
from genai_pipeline.evaluation.suite import SuiteError
from genai_pipeline.evaluation.suite_files import parse_suite

HEAD = """\
name: s
weather: {Oslo: {sky: snow, celsius: -3}}
isolation: {ask: "Weather in {place}?", follow_up: "And now?", places: [Plzeň, Tromsø]}
cases:
"""
BY_ROW = """\
  - name: time-in-{city}
    for:
      - {city: São Paulo, zone: America/Sao_Paulo}
      - {city: Mumbai, zone: [Asia/Kolkata, Asia/Calcutta]}
    tags: [time]
    weight: 2
    turns:
      - {ask: "What time is it in {city}?", calls: [{get_current_time: "{zone}"}]}
"""


def suite(cases: str) -> AgentSuite:
    return parse_suite(HEAD + cases, "s.yaml")


def problems(cases: str) -> list[str]:
    with pytest.raises(SuiteError) as error:
        suite(cases)
    return error.value.problems


def test_a_list_of_rows_becomes_a_case_for_each_row():
    first, second = suite(BY_ROW).cases

    assert (first.name, first.turns[0].ask) == ("time-in-sao-paulo", "What time is it in São Paulo?")
    assert first.turns[0].expected == [("get_current_time", ("America/Sao_Paulo",))]
    assert second.turns[0].expected == [("get_current_time", ("Asia/Kolkata", "Asia/Calcutta"))]
    assert first.weight == second.weight == 2


def test_lists_under_names_are_combined_and_the_values_name_the_cases():
    found = suite("""\
  - name: said
    for: {place: [Oslo, Reykjavík], how: [cold, "+3"]}
    tags: [t]
    turns: [{ask: "Is it {how} in {place}?"}]
""")

    assert [(c.name, c.turns[0].ask) for c in found.cases] == [
        ("said-oslo-cold", "Is it cold in Oslo?"),
        ("said-oslo-3", "Is it +3 in Oslo?"),
        ("said-reykjavik-cold", "Is it cold in Reykjavík?"),
        ("said-reykjavik-3", "Is it +3 in Reykjavík?"),
    ]


def test_a_value_that_is_all_a_field_says_keeps_its_type_and_doubled_braces_are_plain():
    (case,) = suite("""\
  - name: only
    for: [{n: 3, words: [[cold, chilly], snow]}]
    tags: [t]
    repeat: "{n}"
    turns: [{ask: "Say {{n}} of {n}, and {\\"json\\": 1}", says: "{words}"}]
""").cases

    assert case.repeat == 3
    assert case.turns[0].ask == 'Say {n} of 3, and {"json": 1}'
    assert case.turns[0].says == (("cold", "chilly"), ("snow",))


def test_combinations_beyond_all_measure_are_refused_without_being_made():
    values = ", ".join(map(str, range(1000)))
    table = ", ".join(f"{name}: [{values}]" for name in "pqrs")

    (told,) = problems(f"  - {{name: x, for: {{{table}}}, tags: [t], turns: [{{ask: '{{p}}{{q}}{{r}}{{s}}'}}]}}\n")

    assert "stands for 1000000000000 cases; at most 1000" in told


@pytest.mark.parametrize(
    ("change", "to", "line", "words"),
    [
        ("in {city}?", "in {town}?", 12, "turns.0.ask: {town} is not a parameter; allowed: city, zone"),
        ('"{zone}"', "Asia/Tokyo", 6, "cases.0.for: zone is not used. Use or remove it"),
        (
            "{city: Mumbai, zone:",
            "{city: Mumbai, zones:",
            8,
            "cases.0.for.1: all rows need the same names; zone, zones is",
        ),
        ("America/Sao_Paulo", "America/SaoPaulo", 12, "'America/SaoPaulo' is not an IANA time zone"),
        ("Mumbai", "Sao Paulo", 5, "two cases have the name 'time-in-sao-paulo'"),
        ("    weight: 2", "    weight: 0", 10, "cases.0.weight: input should be greater than or equal to 0.001"),
    ],
)
def test_each_mistake_is_reported_by_its_line_in_the_file(change: str, to: str, line: int, words: str):
    changed = BY_ROW.replace(change, to)

    told = problems(changed)

    assert any(problem.startswith(f"s.yaml:{line}: ") and words in problem for problem in told), told


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[]", "has no values"),
        ("{}", "has no values"),
        ("{place: []}", "has no values"),
        ("[Oslo, Rome]", "must be lists under names"),
        ("Oslo", "must be lists under names"),
        ("{place: [%s], x: [%s]}" % ((", ".join(map(str, range(40))),) * 2), "stands for 1600 cases"),
    ],
)
def test_a_table_that_is_none_is_refused(table: str, words: str):
    case = f'  - name: a-{{place}}\n    for: {table}\n    tags: [t]\n    turns: [{{ask: "In {{place}}?"}}]\n'

    (told,) = problems(case)

    assert told.startswith("s.yaml:6: cases.0.for: ")
    assert words in told


def test_a_wrong_value_is_reported_where_the_table_has_it():
    heavy = BY_ROW.replace("weight: 2", 'weight: "{w}"').replace("Calcutta]", "Calcutta], w: heavy")

    (told,) = problems(heavy.replace("Sao_Paulo}", "Sao_Paulo, w: 1}"))

    assert told.startswith("s.yaml:8: cases.1.weight: input should be a valid number")


def test_a_parameter_without_a_table_is_a_forgotten_one():
    (told,) = problems('  - name: a\n    tags: [t]\n    turns: [{ask: "In {place}?"}]\n')

    assert told.startswith("s.yaml:7: cases.0.turns.0.ask: {place} is not a parameter; the case has no `for`.")


def test_the_digest_is_about_what_is_asked_and_not_how_often():
    once = suite(BY_ROW)

    assert suite(BY_ROW.replace("weight: 2", "repeat: 5")).digest == once.digest
    assert suite(BY_ROW.replace("What time", "Which time")).digest != once.digest
