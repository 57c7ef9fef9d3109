"""One call: what is repeated, what is refused, and what the error says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from genai_pipeline.core.errors import AccessDenied, ClusterUnavailable, NotFound, Refused
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.gateways.cluster.kubernetes.answers import ApiAnswer
from genai_pipeline.gateways.cluster.kubernetes.connection import pause_s
from tests.unit.cluster.stub_api import TOKEN, Reply, StubApi, kubeconfig, status

PATH = "/api/v1/namespaces/ns/configmaps/a"
FOUND = Reply({"kind": "ConfigMap", "metadata": {"name": "a"}})


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again_and_counted(api: StubApi, cluster: KubernetesCluster, code: int) -> None:
    api.on("GET", PATH, status(code, message="not now"), status(code, message="not now"), FOUND)

    assert cluster.get("ConfigMap", "a") == FOUND.content
    assert cluster.calls.total == len(api.seen) == 3


def test_a_lost_race_with_another_writer_is_tried_again(api: StubApi, cluster: KubernetesCluster) -> None:
    path = "/apis/apps/v1/namespaces/ns/deployments/m"
    api.on("PATCH", path, status(409, "Conflict", "the object has been modified"), Reply({}))

    cluster.scale("m", 1)
    assert len(api.seen) == 2


def test_the_pause_is_what_the_server_asks_for_or_doubles_up_to_a_limit() -> None:
    assert pause_s(1, 7.0) == 7.0
    assert [0.1 * 2**n <= pause_s(n + 1, None) <= 0.1 + 0.125 * 2**n for n in range(4)] == [True] * 4
    assert pause_s(50, None) < 3


def test_a_conflict_of_field_managers_is_not_tried_again() -> None:
    assert not ApiAnswer(409, {"details": {"causes": [{"field": ".a"}]}, "reason": "Conflict"}).is_worth_another_try


def test_a_server_that_asks_for_more_time_than_there_is_left_ends_the_call(api: StubApi) -> None:
    api.on("GET", PATH, Reply({"message": "slow down"}, 429, {"Retry-After": "60"}))

    with pytest.raises(ClusterUnavailable, match="slow down"):
        KubernetesCluster("ns", api.kubeconfig, patience_s=5).get("ConfigMap", "a")
    assert len(api.seen) == 1


def test_no_one_there_is_unavailable_with_the_reason(tmp_path: Path) -> None:
    nobody = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:9")
    cluster = KubernetesCluster("ns", nobody, patience_s=0.3)

    with pytest.raises(ClusterUnavailable, match="refused"):
        cluster.get("ConfigMap", "a")
    assert cluster.calls.total > 1


def test_a_server_that_hangs_is_unavailable(api: StubApi) -> None:
    api.on("GET", PATH, Reply({}, then="hang"))

    with pytest.raises(ClusterUnavailable, match="get configmaps a in namespace ns"):
        KubernetesCluster("ns", api.kubeconfig, patience_s=0.3).get("ConfigMap", "a")


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (
            status(403, "Forbidden", 'configmaps "a" is forbidden: User "u" cannot get resource "configmaps"'),
            AccessDenied,
            ("may not get configmaps", "namespace ns", "Role genai-pipeline"),
        ),
        (status(403, "Forbidden", "exceeded quota: q"), Refused, ("exceeded quota",)),
        (status(401, "Unauthorized", "Unauthorized"), AccessDenied, ("credentials",)),
        (status(404, "NotFound", 'namespaces "ns" not found'), NotFound, ("no namespace ns",)),
        (Reply("404 page not found\n", 404), Refused, ("does not know", "CRD")),
        (status(418, "", "tea"), ClusterUnavailable, ("418", "tea")),
    ],
)
def test_a_refusal_says_what_was_asked_and_what_to_do(
    api: StubApi, cluster: KubernetesCluster, reply: Reply, error: type[Exception], words: tuple[str, ...]
) -> None:
    path = "/api/v1/namespaces/ns/configmaps/a"
    api.on("DELETE", path, reply)
    api.on("PATCH", path, reply)
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}

    with pytest.raises(error) as raised:
        cluster.apply([manifest])
    for word in words:
        assert word.replace("get configmaps", "patch configmaps") in str(raised.value)


def test_credentials_that_expired_are_read_again_once(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", PATH, FOUND, status(401, "Unauthorized"), FOUND)
    cluster.get("ConfigMap", "a")
    kubeconfig(api.kubeconfig, api.url, "a-newer-token")

    assert cluster.get("ConfigMap", "a") == FOUND.content
    assert [s.headers["Authorization"][7:] for s in api.seen] == [TOKEN, TOKEN, "a-newer-token"]


def test_neither_credentials_nor_secrets_get_into_logs_and_messages(
    api: StubApi, cluster: KubernetesCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.on("GET", "/api/v1/namespaces/ns/secrets/k", Reply({"kind": "Secret", "data": {"k": "aHVzaA=="}}))
    api.on("GET", PATH, status(401, "Unauthorized"))
    cluster.get("Secret", "k")
    with pytest.raises(AccessDenied) as error:
        cluster.get("ConfigMap", "a")

    assert TOKEN not in caplog.text + str(error.value)
    assert "aHVzaA==" not in caplog.text


@pytest.mark.parametrize(
    "text",
    ["{not: [yaml", "[]", "a text", "clusters: 3", "clusters: [{}]\ncurrent-context: c", "current-context: [c]", ""],
)
def test_a_file_that_is_no_kubeconfig_is_unavailable_with_its_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)

    with pytest.raises(ClusterUnavailable, match=rf"^There is no usable kubeconfig \({file}\)[^\n]+ Set KUBECONFIG"):
        KubernetesCluster("ns", file).knows("Namespace")


def test_no_kubeconfig_is_unavailable_and_the_constructor_does_not_mind(tmp_path: Path) -> None:
    cluster = KubernetesCluster("ns", tmp_path / "none")

    with pytest.raises(ClusterUnavailable, match="KUBECONFIG"):
        cluster.get("Pod", "p")
    with pytest.raises(ClusterUnavailable, match="KUBECONFIG"):
        cluster.wait_ready("m", 60)


def test_a_proxy_is_not_asked_for_an_api_server_on_this_machine(
    api: StubApi, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    api.on("GET", PATH, FOUND)

    assert cluster.get("ConfigMap", "a") == FOUND.content


def test_an_absent_kind_is_an_empty_list(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("GET", "/apis/karpenter.sh/v1/nodepools", Reply("404 page not found\n", 404))

    assert cluster.list("NodePool") == []
    assert cluster.get("NodePool", "gpu") is None


def test_a_list_has_kinds_and_order(api: StubApi, cluster: KubernetesCluster) -> None:
    items = [{"metadata": {"name": name}} for name in ("b", "a")]
    api.on("GET", "/api/v1/namespaces/ns/pods", Reply({"items": items}))

    assert [(p["kind"], p["metadata"]["name"]) for p in cluster.list("Pod", {"b": "2", "a": "1"})] == [
        ("Pod", "a"),
        ("Pod", "b"),
    ]
    assert api.seen[0].query == {"labelSelector": "a=1,b=2"}
