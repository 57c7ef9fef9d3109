"""Server-side apply against an API server that says what the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from genai_pipeline.core.errors import ClusterUnavailable, NotFound, Refused
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from tests.unit.cluster.stub_api import Reply, StubApi, conflict, status

PATH = "/api/v1/namespaces/ns/configmaps/settings"
SERVICE = "/api/v1/namespaces/ns/services/m"
EARLIER = "2020-01-01T00:00:00Z"
MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
STABLE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "m"}, "spec": {"selector": {"app": "m"}}}


@pytest.fixture
def impatient(api: StubApi) -> Iterator[KubernetesCluster]:
    cluster = KubernetesCluster("ns", api.kubeconfig, patience_s=1.5)
    yield cluster
    cluster.close()


def answered(version: str, at: str = "", code: int = 200, **fields: Any) -> Reply:
    """Our fields were written `at`; now, where nothing is said."""
    stamp = at or datetime.now(UTC).isoformat(timespec="seconds")
    entry = {"manager": "genai-pipeline", "operation": "Apply", "time": stamp}
    meta = {"name": "settings", "resourceVersion": version, "managedFields": [entry]}
    return Reply({**MANIFEST, "metadata": meta, **fields}, code)


def test_every_object_is_tried_dry_before_any_is_changed(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", PATH, answered("", code=201))
    api.on("PATCH", SERVICE, status(422, "Invalid", "bad", [{"field": "spec.ports[0].port", "message": "must be 1"}]))

    with pytest.raises(Refused, match=r"spec\.ports\[0\]\.port"):
        cluster.apply([MANIFEST, STABLE])

    assert [s.query.get("dryRun") for s in api.asked("PATCH")] == ["All", "All"]


def test_an_apply_is_one_dry_and_one_real_patch_in_our_name(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", PATH, answered("", code=201), answered("7", code=201))

    assert [a.action for a in cluster.apply([MANIFEST])] == ["created"]

    dry, real = api.asked("PATCH")
    assert (dry.query, real.query) == (
        {"fieldManager": "genai-pipeline", "dryRun": "All"},
        {"fieldManager": "genai-pipeline"},
    )
    assert real.headers["Content-Type"] == "application/apply-patch+yaml"
    assert real.content["metadata"]["namespace"] == "ns"
    assert cluster.calls.by_verb_and_resource() == {("patch", "configmaps"): 2}


def test_the_same_version_before_and_after_is_unchanged_and_another_is_configured(
    api: StubApi, cluster: KubernetesCluster
) -> None:
    api.on("PATCH", PATH, answered("7"), answered("7"), answered("7"), answered("8"))

    assert [cluster.apply([MANIFEST])[0].action for _ in range(2)] == ["unchanged", "configured"]


def test_a_dry_run_that_leaves_our_old_stamp_needs_no_real_one(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", PATH, answered("7", EARLIER))

    assert cluster.apply([MANIFEST])[0].action == "unchanged"
    assert len(api.asked("PATCH")) == 1


def test_a_conflict_names_fields_and_owners_and_is_not_forced(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", SERVICE, conflict((".spec.selector", "kubectl-edit"), (".spec.ports", "helm")))

    with pytest.raises(Refused) as error:
        cluster.apply([STABLE])

    for part in (
        "Service m",
        "spec.selector is owned by 'kubectl-edit'",
        "spec.ports is owned by 'helm'",
        "release it",
    ):
        assert part in str(error.value)
    assert [s.query.get("force") for s in api.asked("PATCH")] == [None]


def test_a_field_that_is_ours_by_design_is_taken_back(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", SERVICE, conflict((".spec.selector", "kubectl-edit")), answered("7"), answered("8"))

    assert cluster.apply([STABLE])[0].action == "configured"
    assert [(s.query.get("dryRun"), s.query.get("force")) for s in api.asked("PATCH")] == [
        ("All", None),
        ("All", "true"),
        (None, "true"),
    ]


def test_the_selector_of_a_deployment_is_not_ours_to_take(api: StubApi, cluster: KubernetesCluster) -> None:
    path = "/apis/apps/v1/namespaces/ns/deployments/m"
    api.on("PATCH", path, conflict((".spec.selector", "helm")))

    with pytest.raises(Refused, match="helm"):
        cluster.apply([{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "m"}, "spec": {}}])


def test_a_namespace_may_come_with_what_goes_into_it(api: StubApi, cluster: KubernetesCluster) -> None:
    missing = status(404, "NotFound", 'namespaces "ns" not found')
    api.on("PATCH", "/api/v1/namespaces/ns", answered("", code=201))
    api.on("PATCH", PATH, missing, answered("7", code=201))
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}

    assert [a.action for a in cluster.apply([space, MANIFEST])] == ["created", "created"]

    api.on("PATCH", PATH, missing)
    with pytest.raises(NotFound, match="no namespace ns"):
        cluster.apply([MANIFEST])


def test_an_admission_webhook_without_dry_run_is_asked_for_real(api: StubApi, cluster: KubernetesCluster) -> None:
    refusal = status(400, "BadRequest", "admission webhook w does not support dry run")
    api.on("PATCH", PATH, refusal, answered("8"))

    assert cluster.apply([MANIFEST])[0].action == "configured"


def test_warnings_of_the_server_are_passed_on(api: StubApi, cluster: KubernetesCluster) -> None:
    warned = Reply(answered("", code=201).content, 201, {"Warning": '299 - "would violate \\"restricted\\""'})
    api.on("PATCH", PATH, warned)

    assert cluster.apply([MANIFEST])[0].warnings == ('would violate "restricted"',)


def test_a_wrong_type_comes_as_a_500_and_is_refused_at_once(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", PATH, status(500, "", "failed to create typed patch object (ns/m): .data: expected map, got list"))

    with pytest.raises(Refused, match=r"\.data"):
        cluster.apply([MANIFEST])
    assert len(api.asked("PATCH")) == 1


@pytest.mark.parametrize(
    ("manifest", "named"),
    [
        ({"apiVersion": "x.io/v1", "kind": "Gate", "metadata": {"name": "g"}}, "Gate"),
        ({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": "m"}}, "apps/v1"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, "name"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"when": object()}}, "JSON"),
    ],
    ids=["kind", "version", "no name", "no metadata", "not JSON"],
)
def test_what_we_do_not_speak_is_refused_unasked(
    api: StubApi, cluster: KubernetesCluster, manifest: dict[str, Any], named: str
) -> None:
    with pytest.raises(Refused, match=named):
        cluster.apply([manifest])
    assert api.seen == []


def test_diff_waits_out_a_controller_that_writes_in_between(api: StubApi, cluster: KubernetesCluster) -> None:
    api.on("PATCH", PATH, answered("7", data={"a": "1"}), answered("8", data={"a": "1"}))
    live = answered("8", data={"a": "0"}, status={"x": 1}).content
    api.on("GET", PATH, Reply(live))

    (difference,) = cluster.diff([MANIFEST])

    assert (difference.field, difference.wanted, difference.live) == ("data.a", "1", "0")
    assert len(api.asked("GET")) == 2


def test_scaling_is_a_patch_of_the_replicas_alone(api: StubApi, cluster: KubernetesCluster) -> None:
    path = "/apis/apps/v1/namespaces/ns/deployments/m"
    api.on("PATCH", path, Reply({}))
    cluster.scale("m", 3)

    (seen,) = api.asked("PATCH")
    assert (seen.content, seen.headers["Content-Type"]) == ({"spec": {"replicas": 3}}, "application/merge-patch+json")
    assert seen.query == {"fieldManager": "genai-pipeline"}


def test_an_unanswered_apply_is_unavailable(api: StubApi, impatient: KubernetesCluster) -> None:
    api.on("PATCH", PATH, status(503, "ServiceUnavailable", "etcd is away"))

    with pytest.raises(ClusterUnavailable, match="etcd is away"):
        impatient.apply([MANIFEST])
    assert len(api.asked("PATCH")) > 1


def test_what_the_server_said_is_reported_even_if_the_last_try_ran_into_the_deadline(
    api: StubApi, impatient: KubernetesCluster
) -> None:
    api.on("PATCH", PATH, status(503, "ServiceUnavailable", "etcd is away"), Reply(events=(), then="hang"))

    with pytest.raises(ClusterUnavailable, match=r"etcd is away, then .*timed out"):
        impatient.apply([MANIFEST])


def test_a_field_that_someone_edited_is_taken_by_force_only_where_that_is_asked_for(
    api: StubApi, cluster: KubernetesCluster
) -> None:
    edited = conflict((".data.a", "kubectl-edit"))
    api.on("PATCH", PATH, edited, edited, answered("7"), answered("8"))

    with pytest.raises(Refused, match=r"data\.a is owned by 'kubectl-edit'"):
        cluster.apply([MANIFEST])
    cluster.apply([MANIFEST], take_back=True)

    assert [s.query.get("force") for s in api.asked("PATCH")] == [None, None, "true", "true"]
