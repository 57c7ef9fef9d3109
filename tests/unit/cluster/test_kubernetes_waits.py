"""Waits and watches against an API server that says what the test wants."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import AccessDenied, ClusterUnavailable, NotReady
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster, waits
from genai_pipeline.gateways.cluster.kubernetes.connection import Deadline
from genai_pipeline.gateways.cluster.kubernetes.watching import Watched
from tests.unit.cluster.stub_api import Reply, StubApi, status, stub_api

DEPLOYMENTS = "/apis/apps/v1/namespaces/ns/deployments"
PODS, EVENTS = "/api/v1/namespaces/ns/pods", "/api/v1/namespaces/ns/events"
FORGOTTEN = {"kind": "Status", "code": 410, "reason": "Expired"}
STATES = ("False", "True")
"""Of a pool: not ready when it is asked first."""
QUIET = Reply(events=[], then="hang")


def deployment(ready: bool, version: str = "5") -> dict[str, Any]:
    meta = {"name": "m", "generation": 1, "resourceVersion": version, "creationTimestamp": "2026-01-01T00:00:00Z"}
    counts = dict.fromkeys(("updatedReplicas", "replicas", "availableReplicas"), 1) if ready else {}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "m"}}}
    return {"metadata": meta, "spec": spec, "status": {"observedGeneration": 1, **counts}}


def listed(*items: dict[str, Any], version: str = "10") -> Reply:
    return Reply({"metadata": {"resourceVersion": version}, "items": list(items)})


def event(kind: str, obj: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "object": obj}


def about(name: str, reason: str, at: str = "2026-01-02T00:00:00Z") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.{reason}"},
        "involvedObject": {"kind": "Pod", "name": name},
        "type": "Warning",
        "reason": reason,
        "message": f"{reason} it is",
        "lastTimestamp": at,
    }


def pod(name: str = "m-5d4f-abcde", ready: bool = False) -> dict[str, Any]:
    owner = {"kind": "ReplicaSet", "name": name.rsplit("-", 1)[0]}
    container = {"name": "main", "ready": ready, "restartCount": 1, "state": {"running": {}}, "image": "x:1"}
    return {
        "metadata": {"name": name, "ownerReferences": [owner], "resourceVersion": "1"},
        "status": {"containerStatuses": [container]},
    }


@pytest.fixture
def api(tmp_path: Path) -> Iterator[StubApi]:
    with stub_api(tmp_path) as stub:
        stub.on("GET", DEPLOYMENTS, listed(deployment(False)))
        stub.on("GET", PODS, listed(pod()))
        stub.on("GET", EVENTS, listed())
        for path in (DEPLOYMENTS, PODS, EVENTS):
            stub.on("WATCH", path, QUIET)
        yield stub


def test_what_is_ready_needs_one_call(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", DEPLOYMENTS, listed(deployment(True)))

    assert cluster.wait_ready("m", 5)["status"]["availableReplicas"] == 1
    assert len(api.asked("GET")) == 1
    assert api.asked("GET")[0].query == {"fieldSelector": "metadata.name=m"}


class Arriving(Watched):
    """The server's list arrives just after it was looked at."""

    @property
    def objects(self) -> list[dict[str, Any]]:
        before = super().objects
        self.replace({"m": deployment(True)})
        return before


class OneWatch:
    """Watches one Deployment, and never waits."""

    def watch(self, kind: str, *_: Any) -> Watched:
        return Arriving(kind) if kind == "Deployment" else Watched(kind)

    def wait(self, _: float) -> None:
        return


def test_a_list_that_arrives_while_the_wait_looks_is_no_absence() -> None:
    wait = waits.ReadyWait(OneWatch(), "Deployment", "m", lambda _: "", Deadline(5))  # type: ignore[arg-type]

    assert wait.wait(lambda _: None)["metadata"]["name"] == "m"


def test_readiness_is_seen_by_the_watch_and_nothing_polls(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("WATCH", DEPLOYMENTS, Reply(events=[event("MODIFIED", deployment(True, "11"))], then="hang"))
    said: list[str] = []

    assert cluster.wait_ready("m", 20, said.append)["metadata"]["resourceVersion"] == "11"

    assert cluster.calls.total <= 6
    assert api.asked("WATCH", "deployments")[0].query["resourceVersion"] == "10"
    assert said[-1].startswith("1 of 1 replicas available")


def test_the_deadline_ends_in_a_diagnosis_with_events_and_log(api: StubApi, cluster: KubernetesCluster) -> None:
    old = about("m-5d4f-fghij", "OldTrouble", at="2025-01-01T00:00:00Z")
    api.on("GET", EVENTS, listed(old, about("m-5d4f-abcde", "Unhealthy"), about("n-5d4f-abcde", "OfAnother")))
    api.on("GET", f"{PODS}/m-5d4f-abcde/log", Reply("Traceback: it broke\n"))

    with pytest.raises(NotReady) as error:
        cluster.wait_ready("m", 1.5)

    for part in ("not within 1.5 s", "Unhealthy it is", "it broke", "m-5d4f-abcde/main: not ready"):
        assert part in str(error.value)
    assert "OfAnother" not in str(error.value)
    assert "OldTrouble" not in str(error.value)
    assert {s.query.get("previous") for s in api.asked("GET", "/log")} == {"true", None}


@pytest.mark.timeout(30)
def test_the_pools_are_read_again_when_a_pod_is_refused_again(api: StubApi, cluster: KubernetesCluster) -> None:
    """A pool that was not ready gave hope at first."""
    waiting = pod()
    waiting["spec"] = {"containers": [], "nodeSelector": {"famly": "g6e"}}
    waiting["status"] = {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no node matches"}]}
    message = 'Failed to schedule pod, label "famly" does not have known values'
    refusals = [
        about("m-5d4f-abcde", "FailedScheduling", f"2026-01-02T00:00:0{n}Z") | {"message": message} for n in (1, 2)
    ]
    refusals[1]["metadata"]["resourceVersion"] = "11"
    pools = [{"metadata": {"name": "gpu"}, "status": {"conditions": [{"type": "Ready", "status": s}]}} for s in STATES]
    api.on("GET", PODS, listed(waiting))
    api.on("GET", EVENTS, listed(refusals[0]))
    api.on("WATCH", EVENTS, Reply(events=[event("MODIFIED", refusals[1])], then="hang"))
    api.on("GET", "/apis/karpenter.sh/v1/nodepools", *map(listed, pools))

    with pytest.raises(NotReady, match=r"is not ready: No node pool offers the label famly"):
        cluster.wait_ready("m", 600)


def test_a_deployment_that_is_not_there_is_said_at_once(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", DEPLOYMENTS, listed())

    with pytest.raises(NotReady, match="no Deployment m"):
        cluster.wait_ready("m", 60)


@pytest.mark.parametrize("how", ["end", "break"])
def test_a_watch_that_ends_is_taken_up_from_the_last_version(
    api: StubApi, cluster: KubernetesCluster, how: Any
) -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "12"}})
    first = Reply(events=[event("MODIFIED", deployment(False, "11")), bookmark], then=how)
    api.on("WATCH", DEPLOYMENTS, first, Reply(events=[event("MODIFIED", deployment(True, "13"))], then="hang"))

    cluster.wait_ready("m", 20)

    assert [s.query["resourceVersion"] for s in api.asked("WATCH", "deployments")] == ["10", "12"]
    assert len(api.asked("GET", "deployments")) == 1


@pytest.mark.parametrize(
    "forgotten",
    [Reply(events=[event("ERROR", FORGOTTEN)]), status(410, "Expired", "too old resource version")],
    ids=["event", "status"],
)
def test_a_version_that_the_server_forgot_means_listing_again(
    api: StubApi, cluster: KubernetesCluster, forgotten: Reply
) -> None:
    api.on("GET", DEPLOYMENTS, listed(deployment(False)), listed(deployment(True), version="99"))
    api.on("WATCH", DEPLOYMENTS, forgotten, QUIET)

    assert cluster.wait_ready("m", 20)
    assert len(api.asked("GET", "deployments")) == 2


def test_a_watch_that_falls_silent_is_opened_again(
    api: StubApi, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "SILENCE_S", 0.2)
    api.on("WATCH", DEPLOYMENTS, QUIET, Reply(events=[event("MODIFIED", deployment(True, "11"))], then="hang"))

    assert cluster.wait_ready("m", 20)
    assert len(api.asked("WATCH", "deployments")) == 2


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_watch_that_is_put_off_is_tried_again(api: StubApi, cluster: KubernetesCluster, code: int) -> None:
    ready = Reply(events=[event("MODIFIED", deployment(True, "11"))], then="hang")
    api.on("WATCH", DEPLOYMENTS, status(code, message="not now"), ready)

    assert cluster.wait_ready("m", 20)


def test_a_watch_that_is_forbidden_ends_the_wait_with_the_missing_verb(
    api: StubApi, cluster: KubernetesCluster
) -> None:
    api.on("WATCH", DEPLOYMENTS, status(403, "Forbidden", 'User "u" cannot watch resource "deployments"'))

    with pytest.raises(AccessDenied, match=r"watch deployments\.apps"):
        cluster.wait_ready("m", 60)


def test_an_api_that_hangs_does_not_stretch_the_deadline(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", DEPLOYMENTS, Reply({}, then="hang"))
    begun = time.monotonic()

    with pytest.raises(ClusterUnavailable, match=r"about Deployment m within 1.5 s"):
        cluster.wait_ready("m", 1.5)
    assert time.monotonic() - begun < 10  # the stub holds its answer back for 30 s


def test_an_answer_that_is_none_of_the_apis_is_trouble_and_no_end(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", DEPLOYMENTS, Reply("<html>a portal</html>"), listed(deployment(False)))
    nonsense = Reply(events=[{"type": "MODIFIED"}], then="hang")
    api.on("WATCH", DEPLOYMENTS, nonsense, Reply(events=[event("MODIFIED", deployment(True, "11"))], then="hang"))

    assert cluster.wait_ready("m", 20)


def test_an_api_that_is_lost_during_a_wait_is_part_of_the_diagnosis(api: StubApi, cluster: KubernetesCluster) -> None:
    for path in (DEPLOYMENTS, PODS, EVENTS):
        api.on("WATCH", path, status(503, message="leader is away"))
    api.on("GET", f"{PODS}/m-5d4f-abcde/log", status(503, message="leader is away"))

    with pytest.raises(NotReady, match="0 of 1 replicas available") as error:
        cluster.wait_ready("m", 1.5)
    assert "does not answer at the end: 503 leader is away" in str(error.value)


def test_waiting_for_the_end_of_pods_watches_and_names_what_is_left(api: StubApi, cluster: KubernetesCluster) -> None:
    with pytest.raises(NotReady, match="m-5d4f-abcde"):
        cluster.wait_gone({"app": "m"}, 1.5)

    api.on("WATCH", PODS, Reply(events=[event("DELETED", pod())], then="hang"))
    cluster.wait_gone({"app": "m"}, 20)


def test_the_end_of_pods_is_not_believed_unheard(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", PODS, status(503, message="not now"))

    with pytest.raises(ClusterUnavailable, match="not now"):
        cluster.wait_gone({"app": "m"}, 1.5)


def test_delete_is_foreground_where_there_are_pods_and_waits_for_the_end(
    api: StubApi, cluster: KubernetesCluster
) -> None:
    api.on("DELETE", f"{DEPLOYMENTS}/m", Reply({"kind": "Deployment"}))
    api.on("WATCH", DEPLOYMENTS, Reply(events=[event("DELETED", deployment(False))], then="hang"))
    cluster.delete("Deployment", "m")

    assert api.asked("DELETE")[0].content == {"propagationPolicy": "Foreground"}
    api.on("WATCH", DEPLOYMENTS, QUIET)
    with pytest.raises(NotReady, match="Deployment m"):
        cluster.delete("Deployment", "m", deadline_s=1.5)


def test_what_scales_is_gone_only_with_the_autoscaler_that_it_made(cluster: KubernetesCluster, api: StubApi):
    """Else one could still scale what is stopped next."""
    scalers = "/apis/keda.sh/v1alpha1/namespaces/ns/scaledobjects"
    api.on("DELETE", f"{scalers}/m", Reply({"kind": "ScaledObject"}))
    api.on("GET", scalers, listed({"metadata": {"name": "m"}}))
    api.on("WATCH", scalers, QUIET)

    with pytest.raises(NotReady, match="ScaledObject m"):
        cluster.delete("ScaledObject", "m", deadline_s=1.5)

    assert api.asked("DELETE")[0].content == {"propagationPolicy": "Foreground"}


def test_delete_of_what_is_gone_at_once_or_was_never_there_waits_for_nothing(
    api: StubApi, cluster: KubernetesCluster
) -> None:
    api.on("DELETE", "/api/v1/namespaces/ns/configmaps/a", Reply({"kind": "Status", "status": "Success"}))
    cluster.delete("ConfigMap", "a")
    cluster.delete("ConfigMap", "nothing")

    assert [s.method for s in api.seen] == ["DELETE", "DELETE"]
    assert api.seen[0].content == {"propagationPolicy": "Background"}
