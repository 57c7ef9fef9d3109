"""A candidate over loopback: what it must prove, and each way in which it can fail to."""

from __future__ import annotations

import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome, Verdict
from genai_pipeline.gateways.inference.openai import OpenAIInference
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest.acceptance import WEATHER_TOOL, accept_candidate
from tests.fakes.openai_server import FakeEngine, Faults
from tests.integration.loadtest.conftest import MODEL, ROOT, EngineFor

PASSED, FAILED, INCONCLUSIVE = Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE
pytestmark = pytest.mark.usefixtures("quick_counters")
ALL_OF_THEM = tuple(CHECKS["candidate"])
NO_TOOLS = ("expected_model_answers", "weights_from_staged_prefix")


def accept(
    url: str,
    request_deadline_s: float = 10,
    deadline_s: float = 30,
    task: Task = Task.CHAT,
    asked: tuple[str, ...] = ALL_OF_THEM,
    tools: tuple[object, ...] = (WEATHER_TOOL,),
    max_tokens: int = 256,
) -> dict[str, Verdict]:
    with OpenAIInference(url, request_deadline_s) as inference:
        verdicts = accept_candidate(
            inference, EngineMetricsReader(), MODEL, ROOT, task, asked, tools, "What is the weather in Paris?",
            deadline_s, max_tokens,
        )  # fmt: skip
    assert tuple(v.check for v in verdicts) == asked
    return {v.check: v for v in verdicts}


def not_passed(verdicts: dict[str, Verdict]) -> dict[str, Outcome]:
    return {check: v.outcome for check, v in verdicts.items() if not v.passed}


def test_the_staged_model_that_answers_and_calls_tools_is_accepted(engine: FakeEngine):
    verdicts = accept(engine.url)

    assert not_passed(verdicts) == {}
    assert verdicts["tool_call_parsed"].evidence["tool_calls"][0]["name"] == "get_weather"
    assert all(row["moved_by"] >= 1 for row in verdicts["weights_from_staged_prefix"].evidence["counters"])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_are_an_answer_and_a_call_may_come_after_them(engine: FakeEngine, field: str):
    engine.faults = Faults(thinks=120, thoughts_in=field)

    verdicts = accept(engine.url)

    assert not_passed(verdicts) == {}
    assert verdicts["expected_model_answers"].evidence["reasoning"].startswith("hm hm")


def test_a_model_that_is_still_thinking_when_its_call_is_due_needs_more_tokens(engine: FakeEngine):
    engine.faults = Faults(thinks=400)

    verdicts = accept(engine.url)
    assert not_passed(verdicts) == {"tool_call_parsed": FAILED}
    assert "gates.serving.check_tokens" in verdicts["tool_call_parsed"].summary

    assert not_passed(accept(engine.url, max_tokens=1024)) == {}


def test_thoughts_in_the_answer_itself_are_named_with_the_remedy(engine: FakeEngine):
    engine.faults = Faults(thinks=5, thoughts_in="content")

    verdict = accept(engine.url)["expected_model_answers"]

    assert verdict.passed
    assert "serving.args.reasoning-parser" in verdict.summary


@pytest.mark.parametrize(
    ("faults", "expected", "check", "cause"),
    [
        pytest.param(
            {"broken": True}, dict.fromkeys(ALL_OF_THEM, INCONCLUSIVE), "expected_model_answers", "500: EngineCore",
            id="500 behind a healthy /health",
        ),
        pytest.param(
            {"drop": True}, dict.fromkeys(ALL_OF_THEM, INCONCLUSIVE), "tool_call_parsed", "got no answer",
            id="connections dropped",
        ),
        pytest.param(
            {"serves": "another"}, dict.fromkeys(ALL_OF_THEM, FAILED), "expected_model_answers",
            "serves another, not weather-agent", id="another model",
        ),
        pytest.param(
            {"root": "s3://genai/models/weather-agent/9999/"}, {"weights_from_staged_prefix": FAILED},
            "weights_from_staged_prefix", "loaded from s3://genai/models/weather-agent/9999/", id="other weights",
        ),
        pytest.param(
            {"raw_tool_calls": True}, {"tool_call_parsed": FAILED}, "tool_call_parsed", "tool-call-parser",
            id="tool calls as raw text",
        ),
        pytest.param(
            {"metrics": "frozen"}, {"weights_from_staged_prefix": FAILED}, "weights_from_staged_prefix",
            "did not move", id="counters stand still",
        ),
        pytest.param(
            {"metrics": "down"}, {"weights_from_staged_prefix": INCONCLUSIVE}, "weights_from_staged_prefix",
            "cannot be read", id="no metrics",
        ),
    ],
)  # fmt: skip
def test_each_fault_turns_exactly_its_own_verdicts(
    engine: FakeEngine, faults: dict[str, object], expected: dict[str, Outcome], check: str, cause: str
):
    engine.faults = Faults(**faults)

    verdicts = accept(engine.url)

    assert not_passed(verdicts) == expected
    assert cause in verdicts[check].summary


def test_a_model_that_answers_in_words_is_not_taken_for_a_wrong_parser(engine: FakeEngine):
    tool = {"type": "function", "function": {"name": "unrelated", "parameters": {"type": "object"}}}

    verdict = accept(engine.url, tools=(tool,))["tool_call_parsed"]

    assert verdict.outcome is FAILED
    assert "answered in words" in verdict.summary
    assert "parser" not in verdict.summary


def test_a_model_used_without_tools_is_not_asked_for_a_call(engine: FakeEngine):
    engine.faults = Faults(raw_tool_calls=True)

    assert not_passed(accept(engine.url, asked=NO_TOOLS)) == {}
    assert not any("tools" in body for body in engine.requests)


@pytest.mark.parametrize("task", [Task.COMPLETION, Task.EMBED, Task.SCORE])
def test_each_task_is_asked_on_its_own_endpoint(engine_for: EngineFor, task: Task):
    engine = engine_for(task)
    verdicts = accept(engine.url, task=task, asked=NO_TOOLS)

    assert not_passed(verdicts) == {}
    counters = {row["counter"]: row["moved_by"] for row in verdicts["weights_from_staged_prefix"].evidence["counters"]}
    assert set(counters) == {"prompt_tokens", "requests_finished"} | (
        {"generation_tokens"} if task.generates else set()
    )
    assert min(counters.values()) >= 1


@pytest.mark.parametrize(
    ("served_for", "asked_for"), [(Task.CHAT, Task.EMBED), (Task.EMBED, Task.CHAT), (Task.SCORE, Task.COMPLETION)]
)
def test_a_model_of_another_task_is_refused(engine_for: EngineFor, served_for: Task, asked_for: Task):
    engine = engine_for(served_for)

    verdicts = accept(engine.url, task=asked_for, asked=NO_TOOLS)

    assert not_passed(verdicts) == dict.fromkeys(NO_TOOLS, FAILED)
    assert "404" in verdicts["expected_model_answers"].summary


@pytest.mark.parametrize(
    ("task", "faults", "cause"),
    [
        (Task.EMBED, {"vector": "null"}, "4 of the 4 numbers of the embedding are not finite"),
        (Task.EMBED, {"vector": "zeros"}, "none but 0"),
        (Task.EMBED, {"vector": "empty"}, "0 numbers"),
        (Task.SCORE, {"score": "nan"}, "not finite"),
    ],
)
def test_numbers_that_say_nothing_are_no_answer(
    engine_for: EngineFor, task: Task, faults: dict[str, object], cause: str
):
    engine = engine_for(task)
    engine.faults = Faults(**faults)

    verdicts = accept(engine.url, task=task, asked=NO_TOOLS)

    assert not_passed(verdicts) == {"expected_model_answers": FAILED}
    assert cause in verdicts["expected_model_answers"].summary


def test_counters_that_stand_still_fail_a_pooling_model_too(engine_for: EngineFor):
    engine = engine_for(Task.EMBED)
    engine.faults = Faults(metrics="frozen")

    assert not_passed(accept(engine.url, task=Task.EMBED, asked=NO_TOOLS)) == {"weights_from_staged_prefix": FAILED}


def test_no_one_behind_the_address_is_inconclusive(engine: FakeEngine):
    engine.stop()

    verdicts = accept(engine.url)

    assert not_passed(verdicts) == dict.fromkeys(ALL_OF_THEM, INCONCLUSIVE)
    assert "Connection refused" in verdicts["expected_model_answers"].summary


def test_an_engine_that_hangs_ends_at_the_deadline(engine: FakeEngine):
    engine.faults = Faults(hang=True)

    verdicts = accept(engine.url, request_deadline_s=0.3, deadline_s=0.2)

    assert not_passed(verdicts) == dict.fromkeys(ALL_OF_THEM, INCONCLUSIVE)
    assert "within 0.3 s" in verdicts["expected_model_answers"].summary
    assert "Not asked" in verdicts["weights_from_staged_prefix"].summary
