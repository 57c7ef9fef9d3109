"""GPUs outside EKS: nodes as the NVIDIA GPU operator leaves them, found by resource, taint and selector alone.

Nothing here carries a label of EKS, and no node pool is made. API server and scheduler are real, the nodes are kwok's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from kubernetes import client

from genai_pipeline.cli.pools_doctor import gpu_findings
from genai_pipeline.core.errors import NotReady
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.k8s.render import render_rbac
from genai_pipeline.rollout.capacity.capacity_plan import plan_capacity
from genai_pipeline.rollout.capacity.downtime import Downtime
from genai_pipeline.rollout.capacity.standing import Standing
from genai_pipeline.rollout.capacity.survey import survey
from genai_pipeline.rollout.pools.pool_proof import PoolProof
from tests.cluster.gpu_pools import start_engine, until
from tests.cluster.identities import kubeconfig_of
from tests.cluster.machine.objects import api
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import KUBERNETES, World

pytestmark = pytest.mark.needs("kwok")

PRODUCT, MIG = "nvidia.com/gpu.product", "nvidia.com/mig-1g.10gb"
L4, A100 = f"NVIDIA-L4-{os.getpid()}", f"NVIDIA-A100-SXM4-80GB-{os.getpid()}"
"""Labels of this run alone. Another run may share the cluster."""


def gpu_node(name, product, **offers):
    labels = {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": "1", PRODUCT: product}
    return {
        "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": labels},
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110", **offers}},
    }


def taken_into_use(core: client.CoreV1Api) -> set[str]:
    """Nodes that Kubernetes freed of `node.kubernetes.io/not-ready`, which it gives to each new node."""
    return {
        n.metadata.name
        for n in core.list_node().items
        if not any("kubernetes.io" in t.key for t in n.spec.taints or [])
    }


@pytest.fixture(scope="module", autouse=True)
def nodes(simulated) -> Iterator[dict[str, str]]:
    """Product -> node: a whole L4, and an A100 in two slices."""
    made = {L4: gpu_node(L4.lower(), L4, **{"nvidia.com/gpu": "1"}), A100: gpu_node(A100.lower(), A100, **{MIG: "2"})}
    with api(simulated.kubeconfig) as connection:
        core = client.CoreV1Api(connection)
        for node in made.values():
            core.create_node(node)
        names = {node["metadata"]["name"] for node in made.values()}
        until(lambda: names <= taken_into_use(core), "nodes without the taints of a new one")
        yield {product: node["metadata"]["name"] for product, node in made.items()}
        for node in made.values():
            core.delete_node(node["metadata"]["name"])


@pytest.fixture
def cluster(simulated, fresh_namespace) -> Iterator[KubernetesCluster]:
    gateway = KubernetesCluster(fresh_namespace(simulated), simulated.kubeconfig)
    yield gateway
    gateway.close()


def model(gpu):
    return model_with_tools(f"name: big\nsource: {{hub: a/b}}\nserving: {{gpu: {{{gpu}}}}}\n", "models/big.yaml")


def profile_in(cluster):
    return replace(KUBERNETES, namespace=cluster.namespace)


def surge(cluster, spec):
    """What m/capacity says of room for the model."""
    world = World()
    gateways = replace(world.gateways(), cluster=cluster)
    found = survey(gateways, profile_in(cluster), spec, Release.of(spec, "b" * 40), None)
    result = plan_capacity(spec, found, Standing(), lambda: Downtime(4.0, "release old"))
    return next(v for v in result.verdicts if v.check == "surge_fits")


def landed(cluster, release):
    return [pod["spec"].get("nodeName") for pod in cluster.list("Pod", {"genai-pipeline/release": release.id})]


def test_a_model_lands_on_the_node_whose_product_it_selects(cluster, nodes):
    spec = model(f"count: 1, selector: {{{PRODUCT}: {L4}}}")

    before = surge(cluster, spec)
    release = start_engine(cluster, spec, "a", profile=profile_in(cluster))

    assert before.passed, before.summary
    assert landed(cluster, release) == [nodes[L4]]
    after = surge(cluster, spec)
    assert (after.outcome, "1 needed, 0 free" in after.summary) == (Outcome.FAILED, True)


def test_slices_are_counted_and_given_out_one_by_one(cluster, nodes):
    spec = model(f"resource: {MIG}, selector: {{{PRODUCT}: {A100}}}")

    first = start_engine(cluster, spec, "a", profile=profile_in(cluster))
    room_for_one_more = surge(cluster, spec)
    second = start_engine(cluster, spec, "b", profile=profile_in(cluster))

    assert room_for_one_more.passed, room_for_one_more.summary
    assert landed(cluster, first) == landed(cluster, second) == [nodes[A100]]
    assert not surge(cluster, spec).passed


def test_a_wrong_selector_ends_before_anything_is_started_and_is_named(cluster):
    spec = model(f"count: 1, selector: {{{PRODUCT}: NVIDIA-H100}}")

    verdict = surge(cluster, spec)

    assert verdict.outcome is Outcome.FAILED
    assert f"{PRODUCT}: NVIDIA-H100" in verdict.summary
    assert L4 in verdict.summary
    assert "Correct serving.gpu.selector" in verdict.summary


def test_a_wait_for_a_pod_that_no_node_is_for_names_the_selector(cluster):
    spec = model(f"count: 1, selector: {{{PRODUCT}: NVIDIA-H100}}")
    release = start_engine(cluster, spec, "c", wait=False, profile=profile_in(cluster))

    with pytest.raises(NotReady) as said:
        cluster.wait_ready(release.object_name, 5)

    assert f"{PRODUCT}: NVIDIA-H100" in str(said.value)
    assert "`serving.gpu.selector`" in str(said.value)


def test_the_role_of_this_profile_is_enough_and_no_pool_is_made(cluster, simulated, tmp_path):
    profile, spec = profile_in(cluster), model(f"count: 1, selector: {{{PRODUCT}: {L4}}}")
    cluster.apply(render_rbac(profile))
    before = cluster.list("NodePool")
    kubeconfig = kubeconfig_of(simulated.kubeconfig, cluster.namespace, "genai-pipeline", tmp_path)
    with closing(KubernetesCluster(cluster.namespace, kubeconfig)) as pipeline:
        proof = PoolProof(pipeline, profile).prove([spec])
        room = surge(pipeline, spec)
        findings = gpu_findings([spec, model("resource: amd.com/gpu")], profile, pipeline)
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        cluster.delete(kind, f"genai-pipeline-{cluster.namespace}")

    assert not proof.verdicts
    assert room.passed, room.summary
    assert [f.level for f in findings] == ["ok", "fail"]
    assert "1 amd.com/gpu, and the most is 0" in findings[1].what
    assert cluster.list("NodePool") == before
