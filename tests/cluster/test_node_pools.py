"""platform/node_pools on a real API server, scheduler and Karpenter; only the nodes are simulated."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from genai_pipeline.cli.doctor import failures
from genai_pipeline.cli.pools_doctor import pool_findings
from genai_pipeline.core.errors import FieldConflict, NotReady
from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster
from genai_pipeline.k8s.render import render_engine, render_node_pools, render_rbac
from genai_pipeline.rollout.pools.node_probe import PROBE_LABEL, NodeProbe, probe_pod
from genai_pipeline.rollout.pools.pool_proof import PoolProof
from genai_pipeline.rollout.pools.pool_requirements import judge_live_requirements, pool_problems
from tests.cluster.gpu_pools import NEEDS, apply_empty_pools, model, nodes_of, pool, profile_of, start_engine, until
from tests.cluster.identities import kubeconfig_of, kubectl

pytestmark = [NEEDS, pytest.mark.usefixtures("pools")]


@pytest.fixture
def cluster(simulated, fresh_namespace) -> Iterator[KubernetesCluster]:
    """The pipeline's gateway in a namespace of its own."""
    gateway = KubernetesCluster(fresh_namespace(simulated), simulated.kubeconfig)
    yield gateway
    gateway.close()


@pytest.fixture(scope="module")
def _no_pools_left(simulated) -> Iterator[None]:
    """Other tests do not expect our pools: they are taken away in the end, and their nodes with them."""
    yield
    gateway = KubernetesCluster("default", simulated.kubeconfig)
    for one in gateway.list("NodePool"):
        gateway.delete("NodePool", one["metadata"]["name"])
    gateway.close()


@pytest.fixture
def pools(cluster, _no_pools_left) -> None:
    """Our pools for a model on g6e, whatever the test before made of them; its nodes would fill them."""
    apply_empty_pools(cluster, render_node_pools(profile_of(cluster.namespace), [model()]))


def outcomes(proof):
    return {v.check: str(v.outcome) for v in proof.verdicts}


def gpu(family, count=1):
    return Gpu.model_validate({"instance-family": family, "count": count})


def probes(cluster):
    found = cluster.list("Pod")
    return [p["metadata"]["name"] for p in found if PROBE_LABEL in p["metadata"]["labels"]]


def pool_of(cluster, name, family, **spec):
    """A GPU pool of its own beside ours."""
    one = copy.deepcopy(pool(cluster))
    one["metadata"]["name"] = name
    one["spec"]["template"]["spec"]["requirements"][0]["values"] = [family]
    one["spec"].update(spec)
    return one


def is_ready(cluster, name):
    conditions = ((cluster.get("NodePool", name) or {}).get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


@pytest.fixture
def own_pool(cluster):
    """Applies a NodePool and takes it away."""
    made = []

    def make(one):
        made.append(one["metadata"]["name"])
        cluster.apply([one])
        until(lambda: is_ready(cluster, made[-1]), f"{made[-1]} Ready")
        return made[-1]

    yield make
    for name in made:
        cluster.delete("NodePool", name)


def test_our_pools_are_proven_by_a_pod_that_stays_out_and_one_that_gets_a_node(cluster):
    proof = PoolProof(cluster, profile_of(cluster.namespace)).prove([model()])

    assert proof.form == "probed"
    assert set(outcomes(proof).values()) == {"passed"}, [v.summary for v in proof.verdicts]
    fence, comes = (next(v for v in proof.verdicts if v.check == c) for c in ("gpu_pool_fenced", "gpu_node_comes"))
    assert "did not tolerate taint (taint=nvidia.com/gpu=true:NoSchedule)" in fence.summary
    assert any(row["reason"] == "Scheduled" for row in comes.evidence["events"])
    assert probes(cluster) == []


def test_doing_it_again_changes_nothing(cluster):
    PoolProof(cluster, profile_of(cluster.namespace)).prove([model()])

    again = PoolProof(cluster, profile_of(cluster.namespace)).prove([model()])

    actions = {row["name"]: row["action"] for row in again.verdicts[0].evidence["objects"]}
    assert set(actions.values()) == {"unchanged"}


def test_the_role_that_we_ship_is_enough(cluster, simulated, tmp_path):
    profile = profile_of(cluster.namespace)
    cluster.apply(render_rbac(profile))
    kubeconfig = kubeconfig_of(simulated.kubeconfig, cluster.namespace, "genai-pipeline", tmp_path)
    with closing(KubernetesCluster(cluster.namespace, kubeconfig)) as pipeline:
        proof = PoolProof(pipeline, profile).prove([model()])
    for kind in ("ClusterRoleBinding", "ClusterRole"):
        cluster.delete(kind, f"genai-pipeline-{cluster.namespace}")

    assert set(outcomes(proof).values()) == {"passed"}, [v.summary for v in proof.verdicts]


def test_where_a_gpu_would_cost_money_nothing_is_started(cluster):
    profile = replace(profile_of(cluster.namespace), probe_gpu="never")

    proof = PoolProof(cluster, profile).prove([model("g6")])

    assert proof.form == "simulated"
    assert set(outcomes(proof).values()) == {"passed"}
    assert "would bring a g6.xlarge" in proof.verdicts[-1].summary
    assert cluster.calls.by_verb_and_resource().get(("delete", "pods")) is None


def test_an_engine_of_ours_lands_on_the_gpu_pool(cluster):
    release = start_engine(cluster, model(), "a")

    (pod,) = cluster.list("Pod", {"genai-pipeline/release": release.id})
    node = next(n for n in nodes_of(cluster) if n["metadata"]["name"] == pod["spec"]["nodeName"])
    assert node["metadata"]["labels"]["eks.amazonaws.com/instance-family"] == "g6e"
    assert node["metadata"]["labels"]["karpenter.sh/capacity-type"] == "on-demand"


def test_a_pool_without_the_taint_is_found_by_the_probe(cluster, own_pool):
    unfenced = pool_of(cluster, "unfenced", "g6")  # a family of its own: its node may outlive it
    del unfenced["spec"]["template"]["spec"]["taints"]
    own_pool(unfenced)

    verdict = NodeProbe(cluster, profile_of(cluster.namespace)).fence("unfenced")

    assert verdict.outcome is Outcome.FAILED
    assert "Taint the nodes of unfenced." in verdict.summary
    assert probes(cluster) == []


def test_a_limit_that_leaves_no_room_is_named(cluster, own_pool):
    own_pool(pool_of(cluster, "tight", "g5", limits={"cpu": "2"}))

    verdict = NodeProbe(cluster, profile_of(cluster.namespace), refused_for_s=2).provision(gpu("g5"))

    assert verdict.outcome is Outcome.FAILED
    assert "exceed limits for nodepool" in verdict.summary
    assert probes(cluster) == []


def test_karpenter_is_content_with_a_misspelt_label_and_we_are_not(cluster, own_pool):
    misspelt = pool_of(cluster, "misspelt", "p5")
    misspelt["spec"]["template"]["spec"]["requirements"][0]["key"] = "eks.amazonaws.com/instance-famly"

    own_pool(misspelt)  # waits until Karpenter says Ready=True
    verdict = NodeProbe(cluster, profile_of(cluster.namespace), refused_for_s=2).provision(gpu("p5"))

    assert verdict.outcome is Outcome.FAILED
    (problem,) = pool_problems(misspelt)
    assert "Did you mean `eks.amazonaws.com/instance-family`?" in str(problem)


def test_a_requirement_that_someone_misspelt_in_the_cluster_is_named_and_taken_back(cluster, simulated):
    profile, live = profile_of(cluster.namespace), cluster.get("NodePool", "gpu")
    live["spec"]["template"]["spec"]["requirements"][0]["key"] = "eks.amazonaws.com/instance-familly"
    kubectl(simulated.kubeconfig, "replace", "-f", "-", given=[live])
    until(lambda: is_ready(cluster, "gpu"), "Karpenter content with it")

    conflict, wrong = failures(pool_findings([model()], profile, cluster))
    with pytest.raises(FieldConflict, match=r"kubectl-replace.*instance-familly") as refused:
        PoolProof(cluster, profile).prove([model()])

    assert "kubectl-replace" in conflict.what
    assert (wrong.what.startswith("in the cluster: NodePool gpu"), wrong.remedy) == (
        True, "Did you mean `eks.amazonaws.com/instance-family`?"
    )  # fmt: skip
    assert not judge_live_requirements(cluster.list("NodePool")).passed
    (command,) = re.findall("`kubectl ([^`]+)`", refused.value.remedy)
    kubectl(simulated.kubeconfig, *command.split(), "-f", "-", given=[pool(cluster)])
    assert failures(pool_findings([model()], profile, cluster)) == []
    assert judge_live_requirements(cluster.list("NodePool")).passed


def test_the_wait_for_a_label_that_no_pool_offers_ends_early_also_beside_a_node_and_a_pool_that_is_never_ready(
    cluster, own_pool
):
    start_engine(cluster, model(), "c")
    classless = pool_of(cluster, "classless", "p4d")
    classless["spec"]["template"]["spec"]["nodeClassRef"]["name"] = "no-such-class"
    cluster.apply([classless])
    release = Release.of(model(), "d" * 40)
    engine = render_engine(model(), release, profile_of(cluster.namespace))[0]
    engine["spec"]["template"]["spec"]["nodeSelector"] = {"eks.amazonaws.com/instance-familly": "g6e"}
    try:
        cluster.apply([engine])
        with pytest.raises(NotReady) as ended:
            cluster.wait_ready(release.object_name, 120)
    finally:
        cluster.delete("NodePool", "classless")

    first, *rest = str(ended.value).splitlines()
    assert "not within" not in first
    assert "Did you mean eks.amazonaws.com/instance-family?" in rest[0]
    assert "?." not in str(ended.value)


def test_what_can_never_be_met_is_not_applied(cluster, monkeypatch):
    wrong = pool_of(cluster, "wrong", "g6ee")
    monkeypatch.setattr("genai_pipeline.rollout.pools.pool_proof.render_node_pools", lambda *_: [wrong])

    proof = PoolProof(cluster, profile_of(cluster.namespace)).prove([model()])

    assert outcomes(proof)["requirements_known"] == outcomes(proof)["accepted"] == "failed"
    assert cluster.get("NodePool", "wrong") is None


def test_a_probe_that_a_killed_run_left_is_taken_over_and_removed(cluster):
    profile = profile_of(cluster.namespace)
    cluster.apply([probe_pod(profile, gpu("g6e"), "genai-probe-gpu-g6e-1-left")])

    verdict = NodeProbe(cluster, profile).provision(gpu("g6e"))

    assert verdict.passed, verdict.summary
    assert probes(cluster) == []


def test_consolidation_takes_an_empty_node_and_never_the_one_that_serves(cluster):
    soon = copy.deepcopy(pool(cluster))
    soon["spec"]["disruption"]["consolidateAfter"] = "1s"
    cluster.apply([soon])
    release = start_engine(cluster, model(), "b")
    (pod,) = cluster.list("Pod", {"genai-pipeline/release": release.id})
    serving = pod["spec"]["nodeName"]
    cluster.apply([probe_pod(profile_of(cluster.namespace), gpu("g6e"), "short-lived")])
    until(lambda: len(nodes_of(cluster)) > 1, "a second node")
    cluster.delete("Pod", "short-lived")

    until(lambda: [n["metadata"]["name"] for n in nodes_of(cluster)] == [serving], "the empty nodes gone", 90)

    (still,) = cluster.list("Pod", {"genai-pipeline/release": release.id})
    assert (still["metadata"]["uid"], still["spec"]["nodeName"]) == (pod["metadata"]["uid"], serving)
