"""What platform/observability says of the metrics of live models, by what a Prometheus answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.model_spec import NO_AGENT, Gpu
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics, Sample
from genai_pipeline.observability.dashboard_files import boards_of, filled, panel_queries
from genai_pipeline.observability.metrics_verified import CHECKS_BY_NAME, LiveEngine, verify
from tests.fakes.model_texts import model_with_tools

RELEASE = "111111111111-222222"
SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
WITH_GPU = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update={"gpu": Gpu(count=1)})})
LIVE = [LiveEngine(WITH_GPU, RELEASE, "genai")]
Labels = Mapping[str, str]
POD = f"tiny-{RELEASE}-7c9-x"
HEALTHY: Mapping[str, list[tuple[Labels, float]]] = {
    "up{": [({"pod": "a"}, 1.0)],
    "time() -": [({}, 4.0)],
    "max by (instance) (prometheus_remote": [({"url": "https://aps"}, 2.0)],
    "genai:gate{": [({}, 1.0)],
    "sum by (rule_group)": [],
    "DCGM_FI_DEV_GPU_UTIL": [({"exported_pod": POD, "exported_namespace": "genai", "namespace": "monitoring"}, 30.0)],
    "group(up{job": [],
}


class Answering(Metrics):
    """Answers by how a query begins, and every other query with a sample."""

    def __init__(self, **changed: Any) -> None:
        self.answers = {**HEALTHY, **changed.pop("answers", {})}
        self.refuses: Callable[[str], bool] = changed.pop("refuses", lambda _: False)

    def read(self, base_url: str) -> EngineMetrics:
        raise NotImplementedError

    def query(self, promql: str) -> list[Sample]:
        if self.refuses(promql):
            raise EngineUnavailable("Prometheus is away.", "")
        for begins, found in self.answers.items():
            if promql.startswith(begins):
                return [("", labels, value) for labels, value in found]
        return [("", {}, 1.0)]


def outcomes(metrics: Metrics, live: list[LiveEngine] = LIVE) -> dict[str, str]:
    return {v.check: str(v.outcome) for v in verify(metrics, live)}


def test_healthy_metrics_are_verified():
    assert outcomes(Answering()) == dict.fromkeys(CHECKS_BY_NAME, "passed")


@pytest.mark.parametrize(
    ("check", "begins", "found"),
    [
        ("engines_scraped", "up{", []),
        ("engines_scraped", "up{", [({"pod": "a"}, 1.0), ({"pod": "b"}, 0.0)]),
        ("samples_arrive", "time() -", [({}, 31.0)]),
        ("samples_arrive", "time() -", []),
        ("samples_arrive", "max by (instance) (prometheus_remote", [({"url": "https://aps"}, 90.0)]),
        ("rules_evaluated", "genai:gate{", []),
        ("rules_evaluated", "sum by (rule_group)", [({"rule_group": "/etc/rules.yml;genai-tiny"}, 2.0)]),
        ("gpu_series_named", "DCGM_FI_DEV_GPU_UTIL", []),
        ("gpu_series_named", "DCGM_FI_DEV_GPU_UTIL", [({"gpu": "0"}, 30.0)]),
        ("gpu_series_named", "DCGM_FI_DEV_GPU_UTIL", [({"pod": "dcgm-exporter-0", "namespace": "genai"}, 30.0)]),
        ("gpu_series_named", "DCGM_FI_DEV_GPU_UTIL", [({"pod": POD, "namespace": "another"}, 30.0)]),
        ("gpu_series_named", "DCGM_FI_DEV_GPU_UTIL", [({"pod": POD}, 30.0)]),
    ],
)
def test_each_fault_fails_its_check(check: str, begins: str, found: list[tuple[Labels, float]]):
    assert outcomes(Answering(answers={begins: found}))[check] == "failed"


def test_a_remote_write_that_has_sent_nothing_yet_is_not_called_decades_late():
    answers = {"max by (instance) (prometheus_remote": [({"url": "https://aps"}, 1.8e9)]}
    (verdict,) = [v for v in verify(Answering(answers=answers), LIVE) if v.check == "samples_arrive"]

    assert not verdict.passed
    assert "https://aps (nothing was sent yet)" in verdict.summary


def test_rules_of_others_that_fail_are_not_ours():
    others = {"sum by (rule_group)": [({"rule_group": "/etc/rules.yml;kubernetes"}, 2.0)]}

    assert outcomes(Answering(answers=others))["rules_evaluated"] == "passed"


def test_an_empty_panel_is_named_with_its_dashboard():
    (verdict,) = [
        v for v in verify(Answering(answers={"genai_live_release_info": []}), LIVE) if v.check == "panels_have_data"
    ]

    assert not verdict.passed
    assert {"model": "tiny", "dashboard": "genai-service", "panel": "Live"} in verdict.evidence["empty"]


def test_the_labels_of_an_exporter_that_are_honoured_are_as_good():
    answers = {"DCGM_FI_DEV_GPU_UTIL": [({"pod": POD, "namespace": "genai"}, 30.0)]}

    assert outcomes(Answering(answers=answers))["gpu_series_named"] == "passed"


@pytest.mark.parametrize(("by_nvml", "outcome"), [([({}, 1.0)], "passed"), ([], "failed")])
def test_what_nvml_does_not_know_is_missed_only_where_dcgm_is_asked(by_nvml: list[tuple[Labels, float]], outcome: str):
    empty = {expr: [] for expr in gpu_queries() if "_PROF_PIPE" in expr or "_PROF_DRAM" in expr}

    assert len(empty) == 2
    assert outcomes(Answering(answers={**empty, "group(up{job": by_nvml}))["panels_have_data"] == outcome


def gpu_queries() -> list[str]:
    files = [file for file in boards_of(WITH_GPU) if file.stem == "genai-gpu"]
    return [filled(expr, "genai", "tiny", RELEASE) for file in files for _, expr in panel_queries(file)]


def test_a_gate_that_the_model_file_does_not_set_is_no_empty_panel():
    asked = [expr for file in boards_of(WITH_GPU) for _, expr in panel_queries(file)]

    assert asked
    assert not [expr for expr in asked if expr.startswith("genai:gate")]


def test_without_a_prometheus_nothing_is_passed():
    assert set(outcomes(Answering(refuses=lambda _: True)).values()) == {"inconclusive"}


def test_before_a_model_is_live_there_is_nothing_to_verify():
    assert set(outcomes(Answering(refuses=lambda _: True), live=[]).values()) == {"passed"}


def test_a_model_without_a_gpu_or_an_agent_needs_no_data_in_their_dashboards():
    plain = SPEC.model_copy(update={"agent": NO_AGENT})

    assert {file.stem for file in boards_of(plain)} == {"genai-service", "genai-engine"}
