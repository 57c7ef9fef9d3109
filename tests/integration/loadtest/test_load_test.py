"""A whole measurement over loopback: each fault of the engine turns exactly its own verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.errors import Superseded
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
from genai_pipeline.loadtest import load_test
from genai_pipeline.loadtest.load_test import ServingReport, measure
from tests.fakes.openai_server import FakeEngine, Faults
from tests.integration.loadtest.conftest import GATES, MODEL, EngineFor

Report = Callable[..., ServingReport]
PASSED, FAILED, INCONCLUSIVE = Outcome.PASSED, Outcome.FAILED, Outcome.INCONCLUSIVE
DISAGREE = dict.fromkeys(("ttft_p95", "latency_p95", "tokens_per_second", "engine_agrees"), INCONCLUSIVE)
UNREADABLE = dict.fromkeys(("kv_cache", "queue", "engine_agrees"), INCONCLUSIVE)
UNMEASURED = {check: INCONCLUSIVE for check in CHECKS["serving_report"] if check not in ("gpu_health", "cost")}


def not_passed(report: ServingReport) -> dict[str, Outcome]:
    return {v.check: v.outcome for v in report.verdicts if not v.passed}


def said(report: ServingReport, check: str) -> str:
    return next(v.summary for v in report.verdicts if v.check == check)


def test_a_healthy_engine_passes_and_its_report_is_whole(report_of: Report, engine: FakeEngine):
    report = report_of()

    assert not_passed(report) == {}
    assert [v.check for v in report.verdicts] == list(CHECKS["serving_report"])
    assert len(report.requests) == 32
    assert [row["concurrency"] for row in report.series] == [1, 2, 4]
    assert report.summary["generated_tokens"] == 26 * 8
    assert report.summary["ttft_p95_ms"] >= 80
    assert report.plot.startswith("![")
    assert json.loads(json.dumps([v.to_json() for v in report.verdicts]))


@pytest.mark.parametrize(
    ("resource", "outcome", "says"),
    [
        ("nvidia.com/mig-1g.10gb", Outcome.INCONCLUSIVE, "The GPUs could not be asked"),
        ("amd.com/gpu", Outcome.PASSED, "no NVIDIA GPU: not applicable"),
    ],
)
def test_only_nvidias_gpus_are_asked_how_they_are(report_of: Report, resource: str, outcome: Outcome, says: str):
    report = report_of(gpu=Gpu(resource=resource))

    assert not_passed(report).get("gpu_health", Outcome.PASSED) is outcome
    assert said(report, "gpu_health").startswith(says)


def test_every_request_is_streamed_without_tools_and_to_the_same_length(report_of: Report, engine: FakeEngine):
    report_of()

    assert all(body["stream"] and body["ignore_eos"] and "tools" not in body for body in engine.requests)
    assert len({body["messages"][0]["content"] for body in engine.requests[-32:]}) == 32


def test_an_engine_that_refuses_vllms_own_fields_is_measured_without_them(report_of: Report):
    report = report_of(refuse_extras=True)

    assert not_passed(report) == {}
    tokens = next(v for v in report.verdicts if v.check == "tokens_per_second")
    assert tokens.evidence["answers_of_equal_length"] is False


def test_tokens_of_thoughts_count_and_the_first_word_of_the_answer_has_its_own_figure(report_of: Report):
    report = report_of(thinks=4, token_s=0.02)

    assert not_passed(report) == {}
    assert report.summary["generated_tokens"] == 26 * 8
    assert report.summary["inter_token_p50_ms"] >= 15
    assert report.summary["first_answer_p50_ms"] - report.summary["ttft_p50_ms"] >= 60


def test_a_model_that_only_thinks_is_measured_and_has_no_first_word(report_of: Report):
    report = report_of(thinks=8)

    assert not_passed(report) == {}
    assert report.summary["ttft_p95_ms"] >= 80
    assert "first_answer_p95_ms" not in report.summary


def test_a_model_for_plain_completions_is_measured_token_by_token(report_of: Report, engine: FakeEngine):
    report = report_of(task=Task.COMPLETION, token_s=0.01)

    assert not_passed(report) == {}
    assert [v.check for v in report.verdicts] == list(CHECKS["serving_report"])
    assert report.summary["generated_tokens"] == 26 * 8
    assert report.summary["inter_token_p50_ms"] >= 8
    assert all(body["stream"] and body["ignore_eos"] and "messages" not in body for body in engine.requests)


POOLING_CHECKS = ["latency_p95", "error_rate", "queue", "engine_agrees", "gpu_health", "cost"]


@pytest.mark.parametrize(
    ("task", "faults", "finished_each"),
    [(Task.EMBED, {}, 1), (Task.SCORE, {}, 1), (Task.SCORE, {"pooled_apart": True}, 2)],
)
def test_a_model_that_generates_nothing_is_measured_by_whole_requests(
    report_of: Report, engine: FakeEngine, task: Task, faults: dict[str, object], finished_each: int
):
    report = report_of(task=task, **faults)

    assert not_passed(report) == {}
    assert [v.check for v in report.verdicts] == POOLING_CHECKS
    assert report.summary["latency_p95_ms"] >= 80
    assert report.summary["prompt_tokens_per_s"] > 0
    assert not {"ttft_p95_ms", "tokens_per_s", "generated_tokens"} & set(report.summary)
    assert report.series[-1]["latency_p95_ms"] >= 80
    assert engine.counters.finished["stop"] == 37 * finished_each
    assert not any({"stream", "max_tokens"} & set(body) for body in engine.requests)


def test_a_load_that_is_over_in_milliseconds_goes_on_until_the_gauges_were_read(
    report_of: Report, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(load_test, "POOLED_LOAD_S", 0.8)

    report = report_of(task=Task.EMBED, ttft_s=0.01)

    assert not_passed(report) == {}
    assert len(report.requests) > 32


@pytest.mark.parametrize(
    ("gates", "faults", "expected"),
    [
        pytest.param({"latency_p95_ms": 90}, {"ttft_s": 0.1}, {"latency_p95": FAILED}, id="slow answers"),
        pytest.param({}, {"error_rate": 0.1}, {"error_rate": FAILED}, id="every tenth request fails"),
        pytest.param({}, {"kv_cache": 0.97}, {}, id="the cache says nothing"),
        pytest.param({}, {"waiting": 31}, {"queue": FAILED}, id="long queue"),
        pytest.param(
            {}, {"metrics": "frozen"}, dict.fromkeys(("latency_p95", "engine_agrees"), INCONCLUSIVE), id="no counts"
        ),
    ],
)
def test_each_fault_turns_exactly_its_own_verdicts_of_a_pooling_model(
    report_of: Report, gates: dict[str, float], faults: dict[str, object], expected: dict[str, Outcome]
):
    assert not_passed(report_of(GATES.model_copy(update=gates), task=Task.EMBED, **faults)) == expected


def test_answers_that_turn_into_nothing_under_load_are_errors(engine_for: EngineFor):
    engine = engine_for(Task.EMBED)

    def spoil_at(message: str) -> None:
        if "4 at a time" in message:
            engine.faults = Faults(ttft_s=0.08, vector="null")

    engine.faults = Faults(ttft_s=0.08)
    report = measure(engine.url, MODEL, GATES, EngineMetricsReader(), Task.EMBED, on_progress=spoil_at)

    assert "not finite" in said(report, "error_rate")
    assert next(v for v in report.verdicts if v.check == "error_rate").outcome is FAILED


@pytest.mark.parametrize(
    ("gates", "faults", "expected"),
    [
        pytest.param({"ttft_p95_ms": 90}, {"ttft_s": 0.1}, {"ttft_p95": FAILED}, id="slow first token"),
        pytest.param({"min_tokens_per_s": 250}, {"token_s": 0.01}, {"tokens_per_second": FAILED}, id="slow tokens"),
        pytest.param({}, {"error_rate": 0.1}, {"error_rate": FAILED}, id="every tenth request fails"),
        pytest.param({}, {"kv_cache": 0.97}, {"kv_cache": FAILED}, id="full cache"),
        pytest.param({}, {"waiting": 31}, {"queue": FAILED}, id="long queue"),
        pytest.param({}, {"metrics": "frozen"}, DISAGREE, id="counters stand still"),
        pytest.param({}, {"metrics": "inflated"}, DISAGREE, id="counters too large"),
        pytest.param({}, {"engine_ttft_s": 8.0}, DISAGREE, id="histogram of another engine"),
        pytest.param({}, {"metrics": "missing"}, UNREADABLE, id="metrics of an old vLLM"),
        pytest.param({}, {"metrics": "down"}, UNREADABLE, id="no metrics"),
        pytest.param({}, {"broken": True}, UNMEASURED, id="500 behind a healthy /health"),
        pytest.param({}, {"drop": True}, UNMEASURED, id="connections dropped"),
        pytest.param({}, {"truncate": True}, UNMEASURED, id="streams cut"),
        pytest.param({}, {"serves": "another"}, UNMEASURED | {"error_rate": FAILED}, id="another model"),
    ],
)
def test_each_fault_turns_exactly_its_own_verdicts(
    report_of: Report, gates: dict[str, float], faults: dict[str, object], expected: dict[str, Outcome]
):
    assert not_passed(report_of(GATES.model_copy(update=gates), **faults)) == expected


def test_a_real_queue_is_seen_while_it_lasts(report_of: Report):
    report = report_of(GATES.model_copy(update={"queue_max": 2}), max_running=1, ttft_s=0.03)

    assert not_passed(report) == {"queue": FAILED}


def test_an_engine_that_hangs_is_given_up_at_the_deadline_with_the_reason(report_of: Report):
    report = report_of(hang=True, request_deadline_s=0.5)

    assert not_passed(report) == UNMEASURED
    assert "within 0.5 s" in said(report, "error_rate")


def test_requests_that_the_whole_deadline_left_unsent_are_counted(report_of: Report):
    report = report_of(ttft_s=0.2, deadline_s=1.2)

    assert len(report.requests) == 32
    assert next(v for v in report.verdicts if v.check == "error_rate").outcome is FAILED
    assert any("not sent" in row["error"] for row in report.requests)


def test_no_one_behind_the_address_is_inconclusive_not_a_traceback():
    with FakeEngine() as engine:
        address = engine.url

    report = measure(address, "m", GATES, EngineMetricsReader())

    assert not_passed(report) == UNMEASURED
    assert "/v1/chat/completions failed: connection" in said(report, "ttft_p95")


def test_an_engine_that_dies_under_load_is_reported_as_it_was(engine: FakeEngine):
    def die_at(message: str) -> None:
        if "4 at a time" in message:
            engine.stop()

    engine.faults = Faults(ttft_s=0.05)
    report = measure(engine.url, MODEL, GATES, EngineMetricsReader(), on_progress=die_at)

    verdicts = {v.check: v.outcome for v in report.verdicts}
    assert verdicts["error_rate"] is FAILED
    assert verdicts["ttft_p95"] is INCONCLUSIVE
    assert verdicts["engine_agrees"] is INCONCLUSIVE


def test_a_newer_release_is_no_fault_of_the_engine(report_of: Report):
    def overtake(text: str) -> None:
        if "at a time" in text:
            raise Superseded("A newer release is asked for.")

    with pytest.raises(Superseded):
        report_of(on_progress=overtake)
