"""A load that is held until one more replica serves: how its time is taken, and that its failures count."""

from dataclasses import replace

import pytest

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.loadtest import scale_out
from genai_pipeline.loadtest.scale_out import ScaleOutLoad
from tests.integration.loadtest.conftest import GATES


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch):
    monkeypatch.setattr(scale_out, "POLL_S", 0.01)


def load(*states, within_s=20.0):
    """The states of the engine, the last one for good."""
    left = list(states)
    return ScaleOutLoad(3, within_s, lambda: left.pop(0) if left[1:] else left[0])


def test_the_time_from_the_question_for_a_replica_until_it_serves_is_reported(report_of):
    said = []

    figures = report_of(scale_out=load(False, True, True, False), on_progress=said.append).summary

    assert 0 <= figures["scale_out_asked_s"] < 20
    assert 0 <= figures["scale_out_served_s"] < 20
    assert len([line for line in said if "replica" in line or "served" in line]) == 3
    assert figures["scale_out_requests"] >= 3
    assert figures["scale_out_failed"] == 0


@pytest.mark.parametrize(("states", "asked"), [((False,), False), ((True,), True)])
def test_a_replica_that_is_not_asked_for_or_does_not_come_has_no_time(report_of, states, asked):
    figures = report_of(scale_out=load(*states, within_s=0.2)).summary

    assert (figures["scale_out_asked_s"] is not None) is asked
    assert figures["scale_out_served_s"] is None


def test_a_cluster_that_does_not_answer_is_asked_again(report_of):
    answers = [True, ClusterUnavailable("The API is away.", "Wait."), False]

    def adds_replicas():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert report_of(scale_out=ScaleOutLoad(3, 20.0, adds_replicas)).summary["scale_out_served_s"] is not None


def test_a_request_that_fails_meanwhile_fails_the_release(report_of, engine):
    def break_down():
        engine.faults = replace(engine.faults, broken=True)
        return False

    report = report_of(GATES, scale_out=ScaleOutLoad(3, 0.3, break_down))

    assert report.summary["scale_out_failed"] > 0
    assert {v.check for v in report.verdicts if not v.passed} == {"error_rate"}


def test_without_such_a_load_the_report_has_no_such_figures(report_of):
    assert not [name for name in report_of().summary if name.startswith("scale_out")]
