"""The probe over loopback: it sees what both kinds of client see while an engine changes."""

from __future__ import annotations

import threading

import pytest

from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.loadtest.probe import KINDS, ContinuousProbe, judge_probe
from tests.fakes.openai_server import FakeEngine, Faults
from tests.integration.loadtest.conftest import MODEL, ROOT, EngineFor

RATE = 100


def test_a_steady_engine_loses_nothing_for_either_kind_of_client(engine: FakeEngine):
    with ContinuousProbe(engine.url, MODEL, rate_per_s=RATE) as probe:
        assert probe.wait_for(lambda seen: seen.answered >= 40, deadline_s=10)

    seen = probe.result()
    assert judge_probe(seen).outcome is Outcome.PASSED
    assert min(seen.sent.values()) >= 15
    assert set(seen.roots) == {ROOT}
    assert set(seen.models) == {MODEL}
    assert (seen.total_failed, seen.causes) == (0, {})


def test_new_connections_are_new_and_kept_ones_are_kept(engine: FakeEngine):
    with ContinuousProbe(engine.url, MODEL, rate_per_s=RATE) as probe:
        assert probe.wait_for(lambda seen: seen.answered >= 40, deadline_s=10)

    new = probe.result().sent["new connection"]
    assert new <= engine.connections <= new * 1.25 + 8  # every fifth also asks for the root


@pytest.mark.parametrize(
    ("faults", "cause"),
    [({"broken": True}, "HTTP 500: EngineCore"), ({"drop": True}, "disconnected"), ({"serves": "x"}, "HTTP 404")],
)
def test_what_fails_for_a_moment_is_counted_with_its_cause(engine: FakeEngine, faults: dict[str, object], cause: str):
    with ContinuousProbe(engine.url, MODEL, rate_per_s=RATE) as probe:
        assert probe.wait_for(lambda seen: seen.answered >= 10, deadline_s=10)
        engine.faults = Faults(**faults)
        assert probe.wait_for(lambda seen: all(seen.failed.values()), deadline_s=10)
        engine.faults = Faults()
        answered = probe.result().answered
        assert probe.wait_for(lambda seen: seen.answered >= answered + 10, deadline_s=10)

    verdict = judge_probe(probe.result())
    assert verdict.outcome is Outcome.FAILED
    assert cause in verdict.summary
    assert {row["client"] for row in verdict.evidence["clients"] if row["failed"]} == set(KINDS)


@pytest.mark.parametrize("task", [Task.COMPLETION, Task.EMBED, Task.SCORE])
def test_each_task_is_asked_on_its_own_endpoint(engine_for: EngineFor, task: Task):
    engine = engine_for(task)

    with ContinuousProbe(engine.url, MODEL, task, rate_per_s=RATE) as probe:
        assert probe.wait_for(lambda seen: seen.answered >= 20, deadline_s=10)

    assert judge_probe(probe.result()).outcome is Outcome.PASSED
    assert set(probe.result().models) == {MODEL}


def test_an_embedding_that_says_nothing_is_a_failed_request(engine_for: EngineFor):
    engine = engine_for(Task.EMBED)
    engine.faults = Faults(vector="null")

    with ContinuousProbe(engine.url, MODEL, Task.EMBED, rate_per_s=RATE) as probe:
        assert probe.wait_for(lambda seen: seen.total_sent >= 10, deadline_s=10)

    assert judge_probe(probe.result()).outcome is Outcome.FAILED
    assert "not finite" in judge_probe(probe.result()).summary


def test_an_engine_that_stops_is_refused_connections_and_a_gap(engine: FakeEngine):
    with ContinuousProbe(engine.url, MODEL, rate_per_s=RATE) as probe:
        assert probe.wait_for(lambda seen: seen.answered >= 10, deadline_s=10)
        engine.stop()
        assert probe.wait_for(lambda seen: seen.longest_gap_s > 0.3, deadline_s=10)

    assert any("refused" in cause for cause in probe.result().causes)
    assert judge_probe(probe.result()).outcome is Outcome.FAILED


def test_a_hanging_engine_is_not_flooded_and_fails_at_the_deadline(engine: FakeEngine):
    engine.faults = Faults(hang=True)

    with ContinuousProbe(engine.url, MODEL, rate_per_s=RATE, request_deadline_s=0.5) as probe:
        assert probe.wait_for(lambda seen: seen.failed["keep-alive"] > 0, deadline_s=10)

    seen = probe.result()
    assert seen.answered == 0
    assert seen.skipped > 0
    assert len(engine.requests) <= seen.total_sent


def test_the_probe_stops_by_itself(engine: FakeEngine):
    with ContinuousProbe(engine.url, MODEL, rate_per_s=RATE, max_s=0.2) as probe:
        ended = threading.Event()
        probe.wait_for(lambda seen: seen.longest_gap_s > 0.5, deadline_s=10)
        sent = len(engine.requests)
        ended.wait(0.2)

        assert len(engine.requests) == sent
