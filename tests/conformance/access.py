"""What an identity may not do, and what the cluster does not know."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genai_pipeline.core.errors import AccessDenied, NotFound, Refused
from genai_pipeline.gateways.cluster.abc import Cluster, Permission
from tests.conformance.world import World, config_map

READ_ONLY = {"apiGroups": [""], "resources": ["configmaps", "services", "pods"], "verbs": ["get", "list", "watch"]}
NODE_POOL = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"}, "spec": {}}

DENIED: dict[str, tuple[Callable[[Cluster], object], str]] = {
    "apply": (lambda c: c.apply([config_map(a="1")]), "patch configmaps"),
    "diff": (lambda c: c.diff([config_map(a="1")]), "patch configmaps"),
    "get": (lambda c: c.get("Secret", "keys"), "get secrets"),
    "list": (lambda c: c.list("Deployment"), r"list deployments\.apps"),
    "delete": (lambda c: c.delete("ConfigMap", "settings"), "delete configmaps"),
    "scale": (lambda c: c.scale("m", 1), r"patch deployments\.apps"),
    "wait": (lambda c: c.wait_ready("m", 30), r"list deployments\.apps"),
    "events": (lambda c: c.events("Pod", "m"), "list events"),
}


@pytest.mark.parametrize("what", DENIED)
def test_what_an_identity_may_not_do_is_refused_with_verb_resource_and_namespace(world: World, what: str) -> None:
    do, named = DENIED[what]
    weak = world.with_identity(READ_ONLY)

    with pytest.raises(AccessDenied, match=named) as error:
        do(weak)

    assert world.cluster.namespace in str(error.value)
    assert "Role genai-pipeline" in str(error.value)
    assert weak.list("ConfigMap") is not None  # and what it may do it can


def test_what_an_identity_may_do_can_be_asked(world: World) -> None:
    weak = world.with_identity(READ_ONLY)

    def may(verb: str, resource: str, group: str = "", namespace: str = world.cluster.namespace) -> bool:
        return weak.may(Permission(verb, group, resource, namespace))

    assert may("list", "pods")
    assert not may("get", "pods/log")
    assert not may("list", "pods", namespace="")
    assert not may("list", "deployments", "apps")


def test_credentials_that_the_cluster_does_not_know_are_denied(world: World) -> None:
    with pytest.raises(AccessDenied, match="credentials"):
        world.with_bad_credentials().list("Pod")


def test_a_kind_that_is_not_installed_is_absent_and_cannot_be_applied(world: World) -> None:
    ray = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "r"}, "spec": {}}
    missing = "PodMonitor" if world.cluster.list("PodMonitor") == [] else "RayJob"
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "r"}, "spec": {}}

    assert world.cluster.get(missing, "r") is None
    assert not world.cluster.knows(missing)
    assert world.cluster.knows("Deployment")
    with pytest.raises(Refused, match="Install"):
        world.cluster.apply([monitor if missing == "PodMonitor" else ray])


def test_a_kind_that_the_pipeline_does_not_speak_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="Gate"):
        world.cluster.apply([{"apiVersion": "x.io/v1", "kind": "Gate", "metadata": {"name": "g"}}])


def test_a_missing_namespace_is_not_found(world: World) -> None:
    elsewhere = config_map(a="1")
    elsewhere["metadata"]["namespace"] = "no-such-namespace"

    with pytest.raises(NotFound, match="no-such-namespace"):
        world.cluster.apply([elsewhere])
