"""The log of a pod, followed against an API server that breaks, falls silent and forgets the pod."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.core.errors import AccessDenied, NotReady
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.pod_readiness import how_it_ended, readiness_of_pod
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster, pod_lines
from tests.unit.cluster.stub_api import Reply, StubApi, status

PODS, LOG = "/api/v1/namespaces/ns/pods", "/api/v1/namespaces/ns/pods/p/log"
RUNS: dict[str, Any] = {"running": {}}
ENDED: dict[str, Any] = {"terminated": {"exitCode": 0}}
KILLED: dict[str, Any] = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


def pod(state: dict[str, Any], phase: str = "Running", **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "i", "ready": "running" in state, "state": state}
    meta = {"name": "p", "labels": {"app": "p"}, "resourceVersion": "1"}
    return {
        "metadata": meta,
        "spec": {"nodeName": "n"},
        "status": {"phase": phase, "containerStatuses": [container], **more},
    }


def listed(*pods: dict[str, Any]) -> Reply:
    return Reply({"metadata": {"resourceVersion": "10"}, "items": list(pods)})


def test_lines_come_once_whatever_happens_to_the_stream(api: StubApi, cluster: KubernetesCluster):
    api.on("GET", PODS, listed(pod(RUNS)), listed(pod(RUNS)), listed(pod(RUNS)), listed(pod(ENDED)))
    api.on(
        "GET", LOG,
        Reply(events=["one\nt"], then="break"),
        status(500, "InternalError", "the kubelet is away"),
        Reply(events=["one\ntwo\n", "three\n"]),
        Reply(events=["one\ntwo\nthree\nfour\n"]),
    )  # fmt: skip

    assert list(cluster.lines_of("p", 20)) == ["one", "two", "three", "four"]


def test_a_stream_that_falls_silent_is_opened_again(api: StubApi, cluster: KubernetesCluster, monkeypatch):
    monkeypatch.setattr(pod_lines, "SILENCE_S", 0.3)
    api.on("GET", PODS, listed(pod(RUNS)), listed(pod(ENDED)))
    api.on("GET", LOG, Reply(events=["one\n"], then="hang"), Reply(events=["one\ntwo\n"]))

    assert list(cluster.lines_of("p", 20)) == ["one", "two"]


def test_a_log_that_broke_after_the_end_of_the_pod_is_read_again(api: StubApi, cluster: KubernetesCluster):
    api.on("GET", PODS, listed(pod(ENDED)))
    api.on("GET", LOG, Reply(events=["one\n"], then="break"), Reply(events=["one\ntwo\n"]))

    assert list(cluster.lines_of("p", 20)) == ["one", "two"]


def test_a_pod_that_is_gone_is_no_end(api: StubApi, cluster: KubernetesCluster):
    api.on("GET", PODS, listed(pod(RUNS)), listed())
    api.on("GET", LOG, Reply(events=["one\n"]))
    lines = cluster.lines_of("p", 20)

    assert next(lines) == "one"
    with pytest.raises(NotReady, match="gone before its end"):
        next(lines)


def test_a_pod_that_goes_on_is_given_up_at_the_deadline(api: StubApi, cluster: KubernetesCluster):
    api.on("GET", PODS, listed(pod(RUNS)))
    api.on("GET", LOG, Reply(events=["one\n"], then="hang"))

    with pytest.raises(NotReady, match="has not ended within"):
        list(cluster.lines_of("p", 0.5))


def test_a_log_that_we_may_not_read_is_refused_at_once(api: StubApi, cluster: KubernetesCluster):
    api.on("GET", PODS, listed(pod(RUNS)))
    api.on("GET", LOG, status(403, "Forbidden", "pods is forbidden: cannot get resource"))

    with pytest.raises(AccessDenied):
        list(cluster.lines_of("p", 20))


@pytest.mark.parametrize("found", [pod(RUNS), pod(ENDED, "Succeeded"), pod({"waiting": {}}, "Failed")])
def test_a_pod_that_runs_or_has_run_has_started(api: StubApi, cluster: KubernetesCluster, found: dict[str, Any]):
    api.on("GET", PODS, listed(found))
    api.on("WATCH", PODS, Reply(events=[], then="hang"))

    assert cluster.wait_ready("p", 10, kind="Pod")["metadata"]["name"] == "p"


def test_a_pod_whose_image_is_not_there_is_given_up_early_with_the_reason(api: StubApi, cluster: KubernetesCluster):
    waits = {"waiting": {"reason": "ErrImagePull", "message": "registry/i: not found"}}
    api.on("GET", PODS, listed(pod(waits, "Pending")))
    api.on("GET", "/api/v1/namespaces/ns/events", listed())
    for path in (PODS, "/api/v1/namespaces/ns/events"):
        api.on("WATCH", path, Reply(events=[], then="hang"))

    with pytest.raises(NotReady, match="The registry has no image i"):
        cluster.wait_ready("p", 20, kind="Pod")


def test_a_pod_without_a_node_waits():
    unscheduled = {"metadata": {"name": "p"}, "status": {"phase": "Pending"}}

    assert not readiness_of_pod(unscheduled, Evidence([unscheduled])).done


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (pod(RUNS), ""),
        (pod(ENDED, "Succeeded"), ""),
        (pod(KILLED, "Failed"), "container main: OOMKilled, exit code 137"),
        (pod(RUNS, "Failed", reason="DeadlineExceeded", message="too long"), "DeadlineExceeded: too long"),
    ],
)  # fmt: skip
def test_how_a_pod_ended_is_said_in_words(found: dict[str, Any], said: str):
    assert how_it_ended(found) == said
