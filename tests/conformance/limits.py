"""Quota, admission, room."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.core.errors import NotReady
from tests.conformance.world import World

PRIVILEGED = {"securityContext": {"privileged": True}}


def quota(**hard: str) -> dict[str, Any]:
    spec = {"hard": {key.replace("_", "."): value for key, value in hard.items()}}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": spec}


def requesting(cpu: str) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu, "memory": "8Mi"}}}


def test_headroom_says_what_is_free_and_where_that_was_read(world: World) -> None:
    headroom = world.cluster.headroom()

    assert headroom.memory_gib is None or headroom.memory_gib > 0
    assert headroom.source


def test_pods_beyond_the_quota_are_refused_and_the_wait_says_so(world: World) -> None:
    world.cluster.apply([quota(requests_cpu="100m")])
    world.cluster.apply([world.deployment(**requesting("200m"))])

    with pytest.raises(NotReady, match=r"(?i)quota.*requested: requests\.cpu=200m"):
        world.cluster.wait_ready("m", 60)
    assert world.pods() == []


def test_a_quota_narrows_the_headroom(world: World) -> None:
    world.cluster.apply([quota(requests_cpu="100m")])

    headroom = world.cluster.headroom()
    assert headroom.cpu is not None
    assert headroom.cpu <= 0.1
    assert "ResourceQuota" in headroom.source


def test_a_deployment_that_pod_security_will_refuse_is_applied_with_a_warning(world: World) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": world.cluster.namespace, "labels": labels}}
    world.cluster.apply([space])

    (applied,) = world.cluster.apply([world.deployment(**PRIVILEGED)])

    assert any("privileged" in warning for warning in applied.warnings)
    with pytest.raises(NotReady, match=r"Pod ?Security.*privileged"):
        world.cluster.wait_ready("m", 60)
