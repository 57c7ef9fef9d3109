"""When a RayService counts as ready, and a wait for one against an API server that says what the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import NotReady
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.ray_readiness import readiness_of_ray
from genai_pipeline.gateways.cluster.diagnosis.waited_kinds import WAITED
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.fakes.world import ray_status
from tests.unit.cluster.ray_objects import BOTH, CLUSTER, app, crashed, ray_pod, service
from tests.unit.cluster.stub_api import Reply, StubApi, stub_api

SERVICES = "/apis/ray.io/v1/namespaces/ns/rayservices"
PODS, EVENTS = "/api/v1/namespaces/ns/pods", "/api/v1/namespaces/ns/events"
QUIET = Reply(events=[], then="hang")
SERVES = ray_status(CLUSTER)


def listed(*items: dict[str, Any]) -> Reply:
    return Reply({"metadata": {"resourceVersion": "10"}, "items": list(items)})


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StubApi]:
    with stub_api(tmp_path) as stub:
        stub.on("GET", SERVICES, listed(service()))
        stub.on("GET", PODS, listed(*BOTH))
        stub.on("GET", EVENTS, listed())
        for path in (SERVICES, PODS, EVENTS):
            stub.on("WATCH", path, QUIET)
        yield stub


def test_a_service_is_ready_by_condition_application_and_worker_together() -> None:
    assert readiness_of_ray(service(SERVES), Evidence(BOTH)).done


@pytest.mark.parametrize(
    ("found", "pods"),
    [
        (service(), BOTH),
        (service(SERVES), [BOTH[0], ray_pod("worker")]),
        (service(SERVES), [BOTH[0]]),
        (service(SERVES, generation=2), BOTH),
        (service(SERVES | {"conditions": [{"type": "Ready", "status": "False"}]}), BOTH),
        (service(app("DEPLOYING") | {"conditions": SERVES["conditions"]}), BOTH),
        (service(SERVES | {"activeServiceStatus": {}}), BOTH),
        (service(SERVES, deletionTimestamp="2026-01-01T00:00:00Z"), BOTH),
    ],
    ids=["no status", "worker not ready", "no worker", "older", "condition", "application", "no application", "ending"],
)
def test_without_one_of_them_it_is_not(found: dict[str, Any], pods: list[dict[str, Any]]) -> None:
    readiness = readiness_of_ray(found, Evidence(pods))

    assert not readiness.done
    assert not readiness.hopeless


def test_progress_says_what_serve_says_of_replicas() -> None:
    status = app("DEPLOYING", engine=("UPDATING", "Deployment 'engine' has 1 replicas\nThis may be slow."))

    summary = readiness_of_ray(service(status), Evidence(BOTH)).summary

    assert summary.startswith("1 of 1 worker pods ready, head ready; application engine is DEPLOYING; ")
    assert "deployment engine is UPDATING: Deployment 'engine' has 1 replicas … This may be slow." in summary


def test_heads_that_start_again_are_given_time_and_not_for_ever() -> None:
    assert not readiness_of_ray(service(), Evidence([crashed(restarts=4)])).hopeless
    assert "keeps crashing" in readiness_of_ray(service(), Evidence([crashed(restarts=6)])).hopeless


@pytest.mark.parametrize(
    ("kind", "name", "is_about"),
    [
        ("RayService", "m", True),
        ("RayService", "m-2", False),
        ("RayCluster", "m-abcde", True),
        ("RayCluster", "m-2-abcde", False),
        ("Pod", "m-abcde-head-fghij", True),
        ("Pod", "m-abcde-engine-worker-fghij", True),
        ("Pod", "m-5d4f-abcde", False),
        ("Pod", "n-abcde-head-fghij", False),
    ],
)
def test_an_event_belongs_to_a_service_by_its_name(kind: str, name: str, is_about: bool) -> None:
    assert WAITED["RayService"].is_about(kind, name, "m") is is_about


def test_readiness_is_seen_by_the_watch_and_nothing_polls(api: StubApi, cluster: KubernetesCluster) -> None:
    changed = {"type": "MODIFIED", "object": service(SERVES, resourceVersion="11")}
    api.on("WATCH", SERVICES, Reply(events=[changed], then="hang"))
    said: list[str] = []

    assert cluster.wait_ready("m", 20, said.append, kind="RayService")["status"] == SERVES

    assert cluster.calls.total <= 6
    assert api.asked("GET", "rayservices")[0].query == {"fieldSelector": "metadata.name=m"}
    assert api.asked("GET", "pods")[0].query == {"labelSelector": "ray.io/is-ray-node=yes"}
    assert said[-1].endswith("application engine is RUNNING")


def test_a_wait_ends_when_serve_gave_up(api: StubApi, cluster: KubernetesCluster) -> None:
    broken = "Deploying app 'engine' failed with exception:\nModuleNotFoundError: No module named 'genai_ray'\n"
    api.on("GET", SERVICES, listed(service(app("DEPLOY_FAILED", broken))))

    with pytest.raises(NotReady, match="cannot import genai_ray") as error:
        cluster.wait_ready("m", 300, kind="RayService")

    assert str(error.value).startswith("RayService m is not ready")
    assert "genai render" in str(error.value)


def test_the_diagnosis_shows_the_error_of_a_replica(api: StubApi, cluster: KubernetesCluster) -> None:
    raised = (
        "The deployment failed to start 3 times in a row. Error:\n" + "x\n" * 9 + "ValueError: the reason\nat the end"
    )
    api.on("GET", SERVICES, listed(service(app("DEPLOY_FAILED", "Failed.", engine=("DEPLOY_FAILED", raised)))))

    with pytest.raises(NotReady, match="Last log lines") as error:
        cluster.wait_ready("m", 300, kind="RayService")

    assert "  ValueError: the reason\n" in str(error.value)


def test_the_events_of_a_service_are_also_those_of_its_cluster_and_pods(
    api: StubApi, cluster: KubernetesCluster
) -> None:
    about = [("RayService", "m"), ("RayCluster", "m-abcde"), ("Pod", "m-abcde-head-fghij"), ("Pod", "other")]
    events = [
        {"metadata": {}, "involvedObject": {"kind": k, "name": n}, "reason": "R", "message": n, "lastTimestamp": "1"}
        for k, n in about
    ]
    api.on("GET", EVENTS, listed(*events))

    assert [e.name for e in cluster.events("RayService", "m")] == [name for _, name in about[:3]]


def test_telling_a_service_to_go_waits_for_nothing(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("DELETE", f"{SERVICES}/m", Reply(service()))

    cluster.delete("RayService", "m", None)

    assert [seen.method for seen in api.seen] == ["DELETE"]
    assert api.seen[0].content["propagationPolicy"] == "Foreground"
