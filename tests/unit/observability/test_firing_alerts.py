"""Which alerts fire on a live release, as a Prometheus says it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.verdict import Outcome, Verdict
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics, Sample
from genai_pipeline.observability.firing_alerts import judge_alerts

RELEASE = "111111111111-222222"
ABOUT_IT = {"alertname": "GenaiQueueLong", "namespace": "genai", "model": "tiny", "release": RELEASE}


class Alerting(Metrics):
    """A Prometheus in which these alerts fire. Without `evaluates` it has no rules of the model."""

    def __init__(self, *firing: Mapping[str, str], evaluates: bool = True) -> None:
        self.firing, self.evaluates = firing, evaluates

    def read(self, base_url: str) -> EngineMetrics:
        raise NotImplementedError

    def query(self, promql: str) -> list[Sample]:
        if promql.startswith("ALERTS"):
            return [("ALERTS", {"severity": "warning", **labels}, 1.0) for labels in self.firing]
        assert promql == 'genai:gate{namespace="genai",model="tiny"}'
        return [("genai:gate", {}, 1.0)] if self.evaluates else []


def judged(metrics: Metrics) -> Verdict:
    return judge_alerts(metrics, "tiny", RELEASE, "genai", "https://example/operations.md")


def test_silence_of_rules_that_are_evaluated_is_passed():
    assert judged(Alerting()).outcome is Outcome.PASSED


def test_an_alert_about_the_release_fails_with_what_to_do():
    verdict = judged(Alerting(ABOUT_IT))

    assert verdict.outcome is Outcome.FAILED
    (row,) = verdict.evidence["alerts"]
    assert row["alert"] == "GenaiQueueLong"
    assert row["what to do"] == "https://example/operations.md#genaiqueuelong"


@pytest.mark.parametrize(
    "other", [{"release": "999999999999-222222"}, {"model": "other"}, {"namespace": "elsewhere"}], ids=str
)
def test_an_alert_about_something_else_is_none_of_the_release(other: Mapping[str, str]):
    assert judged(Alerting({**ABOUT_IT, **other})).outcome is Outcome.PASSED


@pytest.mark.parametrize("label", ["pod", "exported_pod"])
def test_an_alert_about_a_gpu_counts_by_the_pod_that_works_on_it(label: str):
    gpu = {"alertname": "GenaiGpuXid", label: f"tiny-{RELEASE}-7c9-abc"}

    assert judged(Alerting(gpu)).outcome is Outcome.FAILED
    assert judged(Alerting({**gpu, label: "tiny-999999999999-222222-7c9-abc"})).outcome is Outcome.PASSED


def test_silence_without_rules_is_inconclusive():
    assert judged(Alerting(evaluates=False)).outcome is Outcome.INCONCLUSIVE


def test_without_a_prometheus_it_is_inconclusive():
    class Without(Alerting):
        def query(self, promql: str) -> list[Sample]:
            raise EngineUnavailable("There is no Prometheus.", "")

    assert judged(Without()).outcome is Outcome.INCONCLUSIVE
