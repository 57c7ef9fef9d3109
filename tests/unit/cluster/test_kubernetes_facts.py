"""The pure parts: events, logs, headroom, where things are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.gateways.cluster.abc import Permission
from genai_pipeline.gateways.cluster.kinds import KINDS
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.cluster.kubernetes.events import cluster_events
from genai_pipeline.gateways.cluster.kubernetes.headroom import headroom_of
from genai_pipeline.gateways.cluster.kubernetes.pod_logs import selector_query
from genai_pipeline.gateways.cluster.kubernetes.waits import is_about
from tests.unit.cluster.stub_api import Reply, stub_api

LONG = "a" * 60


@pytest.mark.parametrize(
    ("kind", "name", "deployment", "is_of_it"),
    [
        ("Deployment", "m", "m", True),
        ("Deployment", "m-2", "m", False),
        ("ReplicaSet", "m-5d4f", "m", True),
        ("ReplicaSet", "m-2-5d4f", "m", False),
        ("Pod", "m-5d4f-abcde", "m", True),
        ("Pod", "m-2-5d4f-abcde", "m", False),
        ("Pod", f"{LONG[:58]}abcde", LONG, True),
        ("Pod", f"{'b' * 58}abcde", LONG, False),
        ("Service", "m", "m", False),
    ],
)
def test_an_event_belongs_to_a_deployment_by_its_name(kind: str, name: str, deployment: str, is_of_it: bool) -> None:
    assert is_about({"involvedObject": {"kind": kind, "name": name}}, "Deployment", deployment) is is_of_it


def test_events_are_in_order_of_time_whatever_form_it_has_and_counted() -> None:
    base = {"metadata": {}, "involvedObject": {"kind": "Pod", "name": "p"}, "type": "Normal", "message": "x"}
    events = [
        base | {"reason": "third", "eventTime": "2026-01-01T00:00:01.5Z", "lastTimestamp": None},
        base | {"reason": "second", "lastTimestamp": "2026-01-01T00:00:01Z", "count": 4},
        base | {"reason": "first", "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}},
    ]

    assert [(e.reason, e.message) for e in cluster_events(events)] == [
        ("first", "x"),
        ("second", "x (x4)"),
        ("third", "x"),
    ]


def test_a_selector_is_written_as_the_api_reads_it() -> None:
    rules = [
        {"key": "a", "operator": "In", "values": ["1", "2"]},
        {"key": "b", "operator": "Exists"},
        {"key": "c", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"app": "m"}, "matchExpressions": rules}

    assert selector_query(selector) == "app=m,a in (1,2),b,!c"


def node(**allocatable: str) -> dict[str, Any]:
    return {"metadata": {"name": "n"}, "status": {"allocatable": allocatable}}


def pod(cpu: str, node: str = "n", phase: str = "Running") -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]
    return {"spec": {"nodeName": node, "containers": containers}, "status": {"phase": phase}}


def pool(limits: dict[str, str], used: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"limits": limits, "template": {"spec": {}}}, "status": {"resources": used}}


def test_headroom_is_what_the_nodes_have_without_what_their_pods_ask_for() -> None:
    pods = [pod("500m"), pod("8", node="another"), pod("8", phase="Succeeded")]

    room = headroom_of([node(cpu="2", memory="4Gi")], pods, [], [])

    assert (room.cpu, room.memory_gib) == (1.5, 3)
    assert room.source == "1 nodes"


def test_headroom_says_of_each_node_what_it_has_left_of_every_resource() -> None:
    user = {"spec": {"nodeName": "n", "containers": [{"resources": {"limits": {"nvidia.com/mig-1g.10gb": "2"}}}]}}

    (one,) = headroom_of([node(cpu="2", **{"nvidia.com/mig-1g.10gb": "7"})], [user], [], []).nodes

    assert (one.node["metadata"]["name"], one.free["nvidia.com/mig-1g.10gb"]) == ("n", 5)


def test_headroom_counts_the_init_container_where_it_is_the_larger() -> None:
    first = pod("500m")
    first["spec"]["initContainers"] = [{"resources": {"requests": {"cpu": "1"}}}]

    assert headroom_of([node(cpu="2", memory="4Gi")], [first], [], []).cpu == 1


def test_pools_add_what_their_limits_leave_and_no_limit_is_no_end() -> None:
    gpu = pool({"nvidia.com/gpu": "8", "cpu": "64", "memory": "1Gi"}, {"nvidia.com/gpu": "6"})
    general = pool({"cpu": "10"}, {"cpu": "4"})

    room = headroom_of([node(cpu="2")], [], [gpu, general], [])

    assert (room.cpu, room.memory_gib) == (72, None)
    assert "2 NodePools" in room.source


def test_a_quota_narrows_it() -> None:
    quota = {"status": {"hard": {"requests.cpu": "1"}, "used": {"requests.cpu": "800m"}}}

    room = headroom_of([node(cpu="8")], [], [], [quota])

    assert room.cpu == pytest.approx(0.2)
    assert "ResourceQuota" in room.source


def test_headroom_is_asked_of_all_namespaces_but_the_quota_of_ours(tmp_path: Path) -> None:
    with stub_api(tmp_path) as api:
        for path in ("/api/v1/nodes", "/api/v1/pods", "/api/v1/namespaces/ns/resourcequotas"):
            api.on("GET", path, Reply({"items": []}))
        cluster = KubernetesCluster("ns", api.kubeconfig)

        assert cluster.headroom().source == "0 nodes"
        cluster.close()


def test_every_kind_has_its_place() -> None:
    assert KINDS["Deployment"].path("ns", "m") == "/apis/apps/v1/namespaces/ns/deployments/m"
    assert KINDS["NodePool"].path("ns") == "/apis/karpenter.sh/v1/nodepools"
    assert KINDS["Pod"].path("ns", "p") == "/api/v1/namespaces/ns/pods/p"
    assert KINDS["NodePool"].resource == "nodepools.karpenter.sh"


def test_an_endpoint_within_the_cluster_is_the_services_address(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/ns/services/m"
    with stub_api(tmp_path) as api:
        api.on("GET", path, Reply({"spec": {"clusterIP": "10.96.1.2", "ports": [{"port": 80}, {"port": 81}]}}))
        cluster = KubernetesCluster("ns", api.kubeconfig, access="direct")

        assert (cluster.endpoint("m"), cluster.endpoint("m", 81)) == ("http://10.96.1.2:80", "http://10.96.1.2:81")
        with pytest.raises(NotFound, match="82"):
            cluster.endpoint("m", 82)
        with pytest.raises(NotFound, match="Service n"):
            cluster.endpoint("n")
        api.on("GET", path, Reply({"spec": {"clusterIP": "None", "ports": [{"port": 80}]}}))
        with pytest.raises(Refused, match="no address"):
            cluster.endpoint("m")
        cluster.close()


def test_the_way_to_a_service_is_chosen_by_where_we_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ways: list[bool] = []
    for host, access in ((None, None), ("10.96.0.1", None), (None, "direct")):
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        if host:
            monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        with stub_api(tmp_path) as api:
            api.on(
                "GET",
                "/api/v1/namespaces/ns/services/m",
                Reply({"spec": {"clusterIP": "::1", "ports": [{"port": 80}]}}),
            )
            cluster = KubernetesCluster("ns", api.kubeconfig, access=access)
            ways.append(cluster.endpoint("m") == "http://[::1]:80")
            cluster.close()

    assert ways == [False, True, True]


def test_a_kind_is_known_where_its_api_lists_it(tmp_path: Path) -> None:
    with stub_api(tmp_path) as api:
        api.on("GET", "/apis/karpenter.sh/v1", Reply({"resources": [{"name": "nodepools"}]}))
        cluster = KubernetesCluster("ns", api.kubeconfig)
        known = {kind: cluster.knows(kind) for kind in ("NodePool", "NodeClaim", "RayService")}
        cluster.close()

    assert known == {"NodePool": True, "NodeClaim": False, "RayService": False}


@pytest.mark.parametrize("allowed", [True, False])
def test_a_permission_is_asked_in_the_words_of_a_role(tmp_path: Path, allowed: bool) -> None:
    with stub_api(tmp_path) as api:
        reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        api.on("POST", reviews, Reply({"status": {"allowed": allowed}}))
        cluster = KubernetesCluster("ns", api.kubeconfig)
        answered = cluster.may(Permission("get", "", "pods/log", "ns", "p"))
        cluster.close()
        (asked,) = api.asked("POST")

    assert answered is allowed
    attributes = asked.content["spec"]["resourceAttributes"]
    assert attributes == {
        "verb": "get", "group": "", "resource": "pods", "subresource": "log", "namespace": "ns", "name": "p"
    }  # fmt: skip
