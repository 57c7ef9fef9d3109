"""The tool-calling suite over loopback: a perfect model passes, each defect goes red where it belongs."""

import json
from dataclasses import replace
from typing import Any

import pytest

from genai_pipeline.evaluation.evaluate import EvaluationSettings, measure_tool_calls
from genai_pipeline.evaluation.outcome import CaseOutcome
from genai_pipeline.evaluation.suite_files import load_tool_suite
from genai_pipeline.evaluation.tool_suite import ToolSuite
from genai_pipeline.evaluation.verdicts import rates_by_tag
from tests.fakes.tool_model import Defect, Request, Said, Script, ToolModel, perfect, with_arguments

SUITE = load_tool_suite()
NO_PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


def chosen(*names: str) -> ToolSuite:
    cases = tuple(case for case in SUITE.cases if case.name in names)
    assert len(cases) == len(names)
    return SUITE.model_copy(update={"cases": cases})


FEW = chosen(
    "simple-flight",
    "multiple-light-or-heating",
    "parallel-two-cities",
    "parallel-multiple-evening",
    "irrelevance-poem",
    "missing-flight-date",
    "multi-turn-search-then-book",
    "enum-cabin",
    "nested-order",
    "array-of-recipients",
    "optional-given",
    "default-overridden",
    "types-digits-are-text",
    "non-ascii-name",
    "quoting-newline",
)


def outcomes(script: Script, suite: ToolSuite = FEW, **settings: Any) -> dict[str, CaseOutcome]:
    with ToolModel(script) as model:
        found = measure_tool_calls(model.url, "m", suite, EvaluationSettings(**settings)).cases
    return {case.name: case for case in found}


def red(found: dict[str, CaseOutcome]) -> set[str]:
    return {name for name, case in found.items() if case.solved is False}


def rate(found: dict[str, CaseOutcome], tag: str) -> float:
    return next(row["rate"] for row in rates_by_tag(list(found.values())) if row["tag"] == tag)


def test_a_perfect_model_solves_every_case_over_few_connections():
    with ToolModel(perfect(SUITE)) as model:
        found = measure_tool_calls(model.url, "m", SUITE, EvaluationSettings(concurrency=6)).cases

    assert [case.name for case in found if not case.solved] == []
    assert [case.name for case in found] == [case.name for case in SUITE.cases]
    assert all(run.right_tools and not run.reason for case in found for run in case.runs)
    assert model.connections <= 6
    assert {r.get("stream", False) for r in model.requests} == {True, False}
    assert {(r["temperature"], r["seed"], r["max_tokens"], r["path"]) for r in model.requests} == {
        (0, 7, 1024, "/v1/chat/completions")
    }


def first_tool(said: Said, request: Request) -> Said:
    name = request["tools"][0]["function"]["name"]
    return replace(said, calls=tuple((name, arguments) for _, arguments in said.calls))


def texts_for_numbers(said: Said, request: Request) -> Said:
    return with_arguments(
        said, lambda a: {k: str(v) if isinstance(v, int) and v is not True else v for k, v in a.items()}
    )


def deep_texts_for_numbers(said: Said, request: Request) -> Said:
    return replace(said, calls=tuple((n, a.replace('"quantity": 3', '"quantity": "3"')) for n, a in said.calls))


def calls_again(said: Said, request: Request) -> Said:
    ids = tuple(f"c{i}" for i in range(len(said.calls) + 1))
    return replace(said, calls=(*said.calls, said.calls[-1]), ids=ids) if said.calls else said


def only_first(said: Said, request: Request) -> Said:
    return replace(said, calls=said.calls[:1])


def calls_anyway(said: Said, request: Request) -> Said:
    """Fills what nobody said with placeholders."""
    if said.calls or request["messages"][-1]["role"] == "tool":
        return said
    function = request["tools"][0]["function"]
    values = {"integer": 1, "number": 1.0, "array": ["x"], "boolean": True}
    made_up = {
        key: values.get(schema["type"], "2027-01-01")
        for key, schema in function["parameters"]["properties"].items()
        if key in function["parameters"]["required"]
    }
    return Said(calls=((function["name"], json.dumps(made_up)),))


def invents_label(said: Said, request: Request) -> Said:
    return with_arguments(said, lambda a: a | ({"cabin": "first"} if "origin" in a else {}))


def forgets_optional(said: Said, request: Request) -> Said:
    required = {t["function"]["name"]: t["function"]["parameters"].get("required", []) for t in request["tools"]}
    kept = [{k: v for k, v in json.loads(a).items() if k in required[n]} for n, a in said.calls]
    return replace(said, calls=tuple((n, json.dumps(a)) for (n, _), a in zip(said.calls, kept, strict=True)))


def plain_letters(said: Said, request: Request) -> Said:
    return with_arguments(said, lambda a: json.loads(json.dumps(a, ensure_ascii=False).encode("ascii", "ignore")))


def escaped_twice(said: Said, request: Request) -> Said:
    return replace(said, calls=tuple((n, a.replace("\\n", "\\\\n")) for n, a in said.calls))


def ignores_results(said: Said, request: Request) -> Said:
    return with_arguments(said, lambda a: a | ({"flight_id": "LH-1752"} if "flight_id" in a else {}))


def other_words_for_enum(said: Said, request: Request) -> Said:
    return with_arguments(said, lambda a: a | ({"cabin": "Business Class"} if "cabin" in a else {}))


def comma_for_array(said: Said, request: Request) -> Said:
    return with_arguments(said, lambda a: a | ({"to": ", ".join(a["to"])} if "to" in a else {}))


def number_for_digits(said: Said, request: Request) -> Said:
    return with_arguments(said, lambda a: a | ({"order_id": "731"} if "order_id" in a else {}))


EVERYWHERE = {case.name for case in FEW.cases}
CALLING = EVERYWHERE - {"irrelevance-poem", "missing-flight-date"}
SEVERAL = {"parallel-two-cities", "parallel-multiple-evening"}


@pytest.mark.parametrize(
    ("defect", "tag", "wrong", "reason"),
    [
        (
            first_tool,
            "multi-turn",
            {"parallel-multiple-evening", "multi-turn-search-then-book"},
            "step 2: search_flights",
        ),
        (
            texts_for_numbers,
            "types",
            {"enum-cabin", "parallel-multiple-evening", "default-overridden"},
            "'4' is not of type",
        ),
        (
            deep_texts_for_numbers,
            "nested",
            {"nested-order"},
            "place_order.items.0.quantity: '3' is not of type 'integer'",
        ),
        (calls_again, "simple", CALLING, "which nothing asked for"),
        (only_first, "parallel", SEVERAL, "not called"),
        (calls_anyway, "missing-argument", {"irrelevance-poem", "missing-flight-date"}, "which nothing asked for"),
        (
            invents_label,
            "simple",
            {"simple-flight", "multi-turn-search-then-book", "enum-cabin"},
            "cabin = 'first' is invented",
        ),
        (forgets_optional, "optional", {"enum-cabin", "optional-given", "default-overridden"}, "artist is missing"),
        (plain_letters, "non-ascii", {"non-ascii-name", "nested-order"}, "not 'Zoë Müller-Łukasiewicz'"),
        (escaped_twice, "quoting", {"quoting-newline"}, r"text is 'first line\\nsecond line'"),
        (ignores_results, "sequential", {"multi-turn-search-then-book"}, "flight_id is 'LH-1752', not 'A3-803'"),
        (other_words_for_enum, "enum", {"enum-cabin"}, "'Business Class' is not one of"),
        (comma_for_array, "array", {"array-of-recipients"}, "is not of type 'array'"),
        (number_for_digits, "types", {"types-digits-are-text"}, "order_id is '731', not '00731'"),
    ],
)
def test_a_single_defect_goes_red_in_its_category_and_nowhere_else(
    defect: Defect, tag: str, wrong: set[str], reason: str
):
    found = outcomes(perfect(FEW, defect))

    assert red(found) == wrong
    assert rate(found, tag) < 1
    assert any(reason in found[name].reason for name in wrong), [found[name].reason for name in wrong]
    assert not any("streamed: " in found[name].reason for name in wrong)
    assert {row["rate"] for row in rates_by_tag([found[n] for n in EVERYWHERE - wrong])} == {1.0}


def streamed_only(defect: Defect) -> Defect:
    return lambda said, request: defect(said, request) if request.get("stream") else said


def broken_json(said: Said, request: Request) -> Said:
    return replace(said, calls=tuple((n, a[:-1]) for n, a in said.calls))


def name_twice(said: Said, request: Request) -> Said:
    return replace(said, calls=tuple((n * 2, a) for n, a in said.calls))


def same_ids(said: Said, request: Request) -> Said:
    return replace(said, ids=tuple("call-0" for _ in said.calls))


def no_ids(said: Said, request: Request) -> Said:
    return replace(said, ids=tuple("" for _ in said.calls))


def as_text(said: Said, request: Request) -> Said:
    return Said("".join(f"[TOOL_CALLS]{n}[ARGS]{a}" for n, a in said.calls)) if said.calls else said


def says_nothing(said: Said, request: Request) -> Said:
    return replace(said, text="")


@pytest.mark.parametrize(
    ("defect", "wrong", "reason"),
    [
        (broken_json, CALLING, "streamed: the arguments of find_contact are not a JSON object"),
        (only_first, SEVERAL, "streamed: get_weather(city='Madrid') not called"),
        (name_twice, CALLING, "streamed: roll_diceroll_dice called, which is not one of its tools"),
        (same_ids, SEVERAL, "streamed: two calls came with the same id"),
        (no_ids, CALLING, "streamed: a call came without an id"),
        (as_text, CALLING, "streamed: a call came back as text ('[TOOL_CALLS]'): set the --tool-call-parser"),
        (
            says_nothing,
            {"irrelevance-poem", "missing-flight-date", "multi-turn-search-then-book"},
            "streamed: neither calls",
        ),
    ],
)
def test_what_only_the_stream_gets_wrong_is_said_to_be_so(defect: Defect, wrong: set[str], reason: str):
    found = outcomes(perfect(FEW, streamed_only(defect)))

    assert red(found) == wrong
    told = [found[name].reason for name in wrong]
    assert all("streamed: " in each and "not streamed" not in each for each in told), told
    assert any(reason in each for each in told), told


def test_what_only_the_whole_answer_gets_wrong_is_said_to_be_so():
    found = outcomes(perfect(FEW, lambda said, request: said if request.get("stream") else only_first(said, request)))

    assert red(found) == SEVERAL
    assert found["parallel-two-cities"].reason.startswith("not streamed: ")


@pytest.mark.parametrize(
    ("said", "solved", "reason"),
    [
        (Said(NO_PARSER, status=400), False, "--enable-auto-tool-choice and the --tool-call-parser"),
        (Said("registry/x does not support tools", status=400), False, "takes no tools"),
        (Said("This model's maximum context length is 512 tokens", status=400), False, "model's context"),
        (Said("", finish="length"), False, "cut off at 1024 tokens"),
        (Said("seed is unknown", status=400), None, "answered 400: seed is unknown"),
        (Said("slow down", status=429, headers={"Retry-After": "0"}), None, "answered 429: slow down"),
        (Said("EngineCore died", status=500, headers={"Retry-After": "0"}), None, "answered 500: EngineCore died"),
        (Said("The model `m` does not exist.", status=404), None, "Is the model called 'm'?"),
        (Said("no such key", status=401), None, "Check the API key"),
        (Said("Hello", cut=True), None, "got no answer"),
    ],
)
def test_an_answer_that_says_nothing_about_the_model_is_not_measured(said: Said, solved: bool | None, reason: str):
    found = outcomes(lambda request: said, chosen("irrelevance-poem"))

    (case,) = found.values()
    assert case.solved is solved
    assert reason in case.reason


def test_a_stream_that_just_stops_is_not_measured():
    found = outcomes(
        lambda request: Said("Hello", finish="never" if request.get("stream") else ""), chosen("irrelevance-poem")
    )

    assert found["irrelevance-poem"].solved is None
    assert found["irrelevance-poem"].reason.startswith("streamed: ")
    assert "ended its stream in the middle" in found["irrelevance-poem"].reason


def test_a_model_that_hangs_costs_its_timeout_and_is_not_measured():
    found = outcomes(lambda request: Said(status=0), chosen("irrelevance-poem"), timeout_s=0.2)

    assert found["irrelevance-poem"].solved is None
    assert "did not answer within 0.2 s" in found["irrelevance-poem"].reason


def test_the_rest_is_not_asked_of_an_endpoint_that_is_not_there():
    told: list[str] = []
    found = measure_tool_calls("http://127.0.0.1:9", "m", SUITE, EvaluationSettings(16), told.append).cases

    assert {case.solved for case in found} == {None}
    assert "got no answer" in found[0].reason
    assert found[-1].reason.startswith("not asked: ")
    assert told[-1] == f"{2 * len(SUITE.cases)} of {2 * len(SUITE.cases)} conversations held"


def test_a_case_that_is_right_now_and_then_is_flaky_and_not_solved():
    right = perfect(FEW)
    seen: list[bool] = []

    def moody(request: Request) -> Said:
        seen.append(True)
        return right(request) if len(seen) <= 2 else Said("Hm.")

    suite = chosen("simple-flight").model_copy(update={"repeat": 2})
    found = outcomes(moody, suite, concurrency=1)

    case = found["simple-flight"]
    assert (case.solved, case.flaky) == (False, True)
    assert [run.solved for run in case.runs] == [True, False]


def test_the_key_goes_with_the_request_and_an_address_with_a_path_is_taken_as_it_is():
    with ToolModel(lambda request: Said("The sea, the sea.")) as model:
        settings = EvaluationSettings(api_key="k-123")
        measure_tool_calls(model.url + "/openai/v9/", "m", chosen("irrelevance-poem"), settings)

    assert {(r["path"], r["authorization"]) for r in model.requests} == {
        ("/openai/v9/chat/completions", "Bearer k-123")
    }
