"""`genai doctor` about metrics: each classic mistake is found, with what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.cli.observability_doctor import observability_findings
from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.metrics.abc import EngineMetrics, Metrics, Sample
from genai_pipeline.k8s.render import render_monitoring
from tests.fakes.model_texts import model_with_tools
from tests.fakes.store import MemoryStore
from tests.fakes.world import EKS, FakeCluster, FakeHub

PROFILE = replace(EKS, prometheus_url="http://prometheus", namespace="genai")
SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")
WITH_GPU = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update={"gpu": Gpu(count=1)})})
AMAZON = "https://aps-workspaces.eu-west-1.amazonaws.com/workspaces/ws-1"
WRITTEN_TO = f"{AMAZON}/api/v1/remote_write"
GPU_OF_POD = {"exported_namespace": "genai", "exported_pod": "tiny-1-x"}
HEALTHY: Mapping[str, list[Mapping[str, str]]] = {
    "vector(1)": [{}],
    "up{": [{"pod": "a"}],
    "DCGM_FI_DEV_GPU_UTIL": [GPU_OF_POD],
    "sum by (url)": [],
    "prometheus_build_info": [{}],
    "prometheus_remote_storage_queue_highest": [{"url": "https://aps"}],
}


class Answering(Metrics):
    """Answers by how a query begins."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = {**HEALTHY, **answers}

    def read(self, base_url: str) -> EngineMetrics:
        raise NotImplementedError

    def query(self, promql: str) -> list[Sample]:
        (found,) = [found for begins, found in self.answers.items() if promql.startswith(begins)]
        if isinstance(found, Exception):
            raise found
        return [("", labels, 1.0) for labels in found]


@pytest.fixture
def cluster() -> FakeCluster:
    """A cluster with the monitors, and a pod of the pipeline."""
    cluster = FakeCluster()
    for monitor in render_monitoring(PROFILE):
        cluster.objects[monitor["kind"], monitor["metadata"]["name"]] = monitor
    labels = {"app.kubernetes.io/managed-by": "genai-pipeline"}
    cluster.objects["Pod", "a"] = {"kind": "Pod", "metadata": {"name": "a", "labels": labels}}
    return cluster


def found(
    cluster: FakeCluster, answers: Mapping[str, Any] | None = None, spec: Any = WITH_GPU, url: str = "http://prometheus"
) -> list[Finding]:
    gateways = Gateways(FakeHub(), MemoryStore(), cluster, None, None, Answering(answers or {}))  # type: ignore[arg-type]
    return observability_findings([spec], replace(PROFILE, prometheus_url=url), gateways)


def bad(findings: list[Finding]) -> list[str]:
    assert all(f.remedy for f in findings if f.level != "ok")
    return [f"{f.what} {f.remedy}" for f in findings if f.level != "ok"]


def test_healthy_metrics_have_no_findings(cluster: FakeCluster):
    assert bad(found(cluster)) == []


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"up{": []}, "podMonitorSelectorNilUsesHelmValues"),
        ({"DCGM_FI_DEV_GPU_UTIL": []}, "dcgm-exporter"),
        ({"DCGM_FI_DEV_GPU_UTIL": [{"pod": "dcgm-exporter-x", "namespace": "genai"}]}, "DCGM_EXPORTER_KUBERNETES"),
        ({"DCGM_FI_DEV_GPU_UTIL": [{**GPU_OF_POD, "exported_namespace": "other"}]}, "DCGM_EXPORTER_KUBERNETES"),
        ({"prometheus_remote_storage_queue_highest": []}, "remoteWrite"),
        ({"sum by (url)": [{"url": WRITTEN_TO}]}, "aps:RemoteWrite on workspace ws-1 in region eu-west-1"),
        ({"sum by (url)": [{"url": "https://mimir/api/v1/push"}]}, "log"),
    ],
)
def test_each_mistake_is_found(cluster: FakeCluster, answers: Mapping[str, Any], says: str):
    (only,) = bad(found(cluster, answers))

    assert says in only


@pytest.mark.parametrize(("url", "to_write"), [(AMAZON, True), ("http://prometheus", False)])
def test_where_no_sample_arrives_at_amazon_the_writer_may_be_refused(cluster: FakeCluster, url: str, to_write: bool):
    (only,) = bad(found(cluster, {"up{": []}, url=url))

    assert ("needs aps:RemoteWrite on workspace ws-1 in region eu-west-1." in only) == to_write
    assert "podMonitorSelectorNilUsesHelmValues" in only


def test_a_refusal_of_amazon_is_quoted_with_the_missing_action(cluster: FakeCluster):
    refused = EngineUnavailable("https://aps refused (HTTP 403): not authorized.", "It needs aps:QueryMetrics.")

    (only,) = bad(found(cluster, {"vector(1)": refused}))

    assert "403" in only
    assert "aps:QueryMetrics" in only


@pytest.mark.parametrize("labels", [{}, {"release": "prometheus"}])
def test_a_monitor_without_the_operators_label_is_named(cluster: FakeCluster, labels: Mapping[str, str]):
    cluster.objects["PodMonitor", "genai-engine"]["metadata"]["labels"] = dict(labels)

    (only,) = bad(found(cluster))

    assert only.startswith("PodMonitor genai-engine")


def test_a_cluster_without_the_operator_is_told_to_install_it(cluster: FakeCluster):
    cluster.unknown_kinds = {"PodMonitor"}

    assert any("Install the Prometheus operator" in line for line in bad(found(cluster)))


def test_before_anything_runs_no_sample_is_no_mistake(cluster: FakeCluster):
    del cluster.objects["Pod", "a"]

    assert bad(found(cluster, {"up{": []})) == []


def test_without_a_gpu_no_dcgm_is_missed(cluster: FakeCluster):
    assert bad(found(cluster, {"DCGM_FI_DEV_GPU_UTIL": []}, SPEC)) == []
