"""What we render, held to a real API server: every field known, every object admitted without a warning."""

from __future__ import annotations

import dataclasses

import pytest

from genai_pipeline.cli.manifests import rbac_objects, rendered, write_objects
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.cluster.kubernetes.kubernetes_cluster import KubernetesCluster
from genai_pipeline.k8s.render import render_engine, render_namespace
from tests.cluster.identities import kubectl
from tests.cluster.machine.cluster import until
from tests.unit.k8s.everything import MODELS, PROFILES, SMALL, Object, everything, release_of

DRY = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--field-manager=genai-pipeline")


@pytest.fixture
def namespace(simulated, fresh_namespace) -> str:
    """A namespace as we want it: Pod Security answers for what is applied to it."""
    name = fresh_namespace(simulated)
    kubectl(simulated.kubeconfig, "apply", "--server-side", "--field-manager=genai-pipeline", "-f", "-", given=[
        o for o in render_namespace(profile_in(name)) if o["kind"] != "PriorityClass"
    ])  # fmt: skip
    return name


def profile_in(namespace: str, name: str = "eks") -> Profile:
    return dataclasses.replace(PROFILES[name], namespace=namespace)


@pytest.mark.needs("karpenter")
@pytest.mark.parametrize("profile", PROFILES)
def test_the_api_knows_every_field_and_warns_of_nothing(simulated, namespace, profile):
    objects = everything(profile_in(namespace, profile))

    said = kubectl(simulated.kubeconfig, *DRY, "-f", "-", given=objects)

    assert said.stderr == ""
    assert len(said.stdout.splitlines()) == len(objects)


@pytest.mark.needs("karpenter")
def test_a_rendered_folder_is_applied_as_it_is(simulated, namespace, tmp_path):
    profile = profile_in(namespace)
    folders = rendered([(spec, release_of(spec)) for spec in MODELS], profile)
    write_objects(folders, tmp_path / "models")
    write_objects(rbac_objects(profile), tmp_path / "rbac")

    for folder in ("models", "models/platform/karpenter", "models/platform/prometheus-operator", "rbac"):
        assert kubectl(simulated.kubeconfig, *DRY, "-k", str(tmp_path / folder)).stderr == ""


def engine_in(namespace: str) -> Object:
    return render_engine(SMALL, release_of(SMALL), profile_in(namespace), replicas=1)[0]


def pool_in(namespace: str) -> Object:
    return next(o for o in everything(profile_in(namespace)) if o["kind"] == "NodePool")


@pytest.mark.needs("karpenter")
@pytest.mark.parametrize("kind", ["Deployment", "NodePool"])
def test_a_misspelt_field_is_seen(simulated, namespace, kind):
    manifest = engine_in(namespace) if kind == "Deployment" else pool_in(namespace)
    manifest["spec"]["template"]["spec"]["tolerationz"] = []

    said = kubectl(simulated.kubeconfig, *DRY, "-f", "-", given=[manifest], check=False)

    assert said.returncode
    assert "tolerationz" in said.stderr


@pytest.mark.parametrize("field", ["runAsNonRoot", "seccompProfile"])
def test_a_pod_that_the_namespace_would_refuse_is_warned_of(simulated, namespace, field):
    manifest = engine_in(namespace)
    del manifest["spec"]["template"]["spec"]["securityContext"][field]

    said = kubectl(simulated.kubeconfig, *DRY, "-f", "-", given=[manifest])

    assert "would violate PodSecurity" in said.stderr


def first_pod_of(simulated, namespace, manifest) -> Object:
    cluster = KubernetesCluster(namespace, simulated.kubeconfig)
    applied = cluster.apply([*render_namespace(profile_in(namespace)), manifest])
    assert not [w for a in applied for w in a.warnings]
    return until(lambda: next(iter(cluster.list("Pod")), None), "a pod of the engine", 30)


def holds_a_token(pod: Object) -> bool:
    sources = [s for v in pod["spec"]["volumes"] for s in v.get("projected", {}).get("sources", [])]
    return any("serviceAccountToken" in source for source in sources)


def test_the_pods_of_an_engine_are_admitted_and_hold_no_token(simulated, namespace):
    pod = first_pod_of(simulated, namespace, engine_in(namespace))

    assert not holds_a_token(pod)
    assert pod["spec"]["priority"] == 100000


def test_a_token_in_a_pod_would_be_seen(simulated, namespace):
    manifest = engine_in(namespace)
    manifest["spec"]["template"]["spec"] |= {"serviceAccountName": "default", "automountServiceAccountToken": True}

    assert holds_a_token(first_pod_of(simulated, namespace, manifest))


def test_without_its_priority_class_a_pod_would_not_be_made(simulated, namespace):
    manifest = engine_in(namespace)
    manifest["spec"]["template"]["spec"]["priorityClassName"] = "of-nobody"
    cluster = KubernetesCluster(namespace, simulated.kubeconfig)

    cluster.apply([manifest])

    def refusals() -> list[str]:
        return [e.message for e in cluster.events("Deployment", manifest["metadata"]["name"]) if e.type == "Warning"]

    assert any("no PriorityClass with name of-nobody" in m for m in until(refusals, "the refusal", 30))
