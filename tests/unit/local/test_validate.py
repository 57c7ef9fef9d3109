"""What is refused, with the field and the remedy."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from genai_pipeline.local.cluster.validate import problems

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "m"},
    "spec": {
        "selector": {"matchLabels": {"app": "m"}},
        "template": {
            "metadata": {"labels": {"app": "m"}},
            "spec": {"containers": [{"name": "main", "image": "a/b:1"}], "volumes": [{"name": "v", "emptyDir": {}}]},
        },
    },
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "m"},
    "spec": {"ports": [{"port": 80}]},
}
POD = "spec.template.spec"


def changed(base: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at `a.b.0.c`; None removes the field."""
    obj = copy.deepcopy(base)
    *way, last = path.split(".")
    place: Any = obj
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return obj


def test_sound_objects_have_no_problems() -> None:
    assert problems(DEPLOYMENT) == []
    assert problems(SERVICE) == []
    assert problems({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"}}) == []


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("kind", None, "kind"),
        ("apiVersion", None, "apiVersion"),
        ("metadata", None, "metadata"),
        ("metadata", {}, "metadata.name"),
        ("metadata", {"name": "Big_Name"}, "metadata.name"),
        ("metadata", {"name": "../../etc"}, "metadata.name"),
        ("metadata", {"name": "m", "namespace": "a/b"}, "metadata.namespace"),
        ("metadata", {"name": "m", "labels": {"a": 1}}, "metadata.labels.a"),
        ("spec", None, "spec"),
        ("spec", [], "spec"),
        ("spec.replicas", -1, "spec.replicas"),
        ("spec.replicas", True, "spec.replicas"),
        ("spec.selector", None, "spec: 'selector'"),
        ("spec.selector.matchLabels", {"app": "other"}, "spec.selector"),
        ("spec.strategy", {"rollingUpdate": {"maxSurge": "lots"}}, "spec.strategy.rollingUpdate.maxSurge"),
        ("spec.template", None, "spec: 'template'"),
        ("spec.template.specc", {}, "spec.template: "),
        ("kind", "../Deployment", "kind"),
        (f"{POD}.containers", [], f"{POD}.containers"),
        (f"{POD}.containers.0.image", None, f"{POD}.containers[0].image"),
        (f"{POD}.containers.0.name", "No", f"{POD}.containers[0].name"),
        (f"{POD}.containers", [{"name": "a", "image": "x"}] * 2, f"{POD}.containers"),
        (f"{POD}.containers.0.args", [8000], f"{POD}.containers[0].args[0]"),
        (f"{POD}.containers.0.env", [{"name": "A", "value": 1}], f"{POD}.containers[0].env[0].value"),
        (
            f"{POD}.containers.0.env",
            [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
            f"{POD}.containers[0].env[0].valueFrom.fieldRef",
        ),
        (f"{POD}.containers.0.readinessProbe", {"grpc": {}}, f"{POD}.containers[0].readinessProbe"),
        (
            f"{POD}.containers.0.volumeMounts",
            [{"name": "other", "mountPath": "/x"}],
            f"{POD}.containers[0].volumeMounts[0].name",
        ),
        (f"{POD}.containers.0.lifecycle", {"postStart": {}}, f"{POD}.containers[0].lifecycle"),
        (f"{POD}.volumes", [{"name": "s3", "csi": {}}], f"{POD}.volumes[0]"),
        (f"{POD}.initContainers", [{"name": "a"}], f"{POD}.initContainers[0].image"),
        (f"{POD}.initContainers", [{"name": "main", "image": "a/b:1"}], f"{POD}.containers"),
        (
            f"{POD}.initContainers",
            [{"name": "a", "image": "a/b:1", "restartPolicy": "Always"}],
            f"{POD}.initContainers[0].restartPolicy",
        ),
        (
            f"{POD}.initContainers",
            [{"name": "a", "image": "a/b:1", "readinessProbe": {"tcpSocket": {"port": 80}}}],
            f"{POD}.initContainers[0].readinessProbe",
        ),
    ],
)
def test_a_mistake_in_a_deployment_is_named_by_its_field(path: str, value: Any, field: str) -> None:
    found = problems(changed(DEPLOYMENT, path, value))

    assert any(line.startswith(field) for line in found), found
    assert all(line.endswith(".") for line in found)


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("spec.ports", [], "spec.ports"),
        ("spec.ports.0.port", 70000, "spec.ports[0].port"),
        ("spec.type", "ExternalName", "spec.type"),
        ("metadata.name", "a.b", "metadata.name"),
    ],
)
def test_a_mistake_in_a_service_is_named_by_its_field(path: str, value: Any, field: str) -> None:
    assert any(line.startswith(field) for line in problems(changed(SERVICE, path, value)))


@pytest.mark.parametrize("garbage", [None, "text", [], 3, {}, {"metadata": "x"}, {"kind": "Pod", "metadata": {}}])
def test_garbage_is_refused_without_a_traceback(garbage: Any) -> None:
    assert problems(garbage)


def test_a_pod_of_its_own_and_a_secret_that_is_no_text_are_refused() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": 1}}

    assert "Deployment" in problems(pod)[0]
    assert problems(secret)[0].startswith("data.a")
