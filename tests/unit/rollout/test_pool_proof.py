from dataclasses import replace

import pytest

from genai_pipeline.core.errors import FieldConflict, UnknownKind
from genai_pipeline.core.verdict import failed, inconclusive, passed
from genai_pipeline.gateways.cluster.abc import Applied
from genai_pipeline.rollout.pools.pool_proof import PoolProof
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS, KUBERNETES, PROFILE, FakeCluster

GPU = model_with_tools("name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: g6e}}\n", "f")
CPU = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")
READY = {"conditions": [{"type": "Ready", "status": "True"}], "resources": {}}
CHECKS = ["accepted", "requirements_known", "gpu_pool_fenced", "selectors_match", "gpu_node_comes"]


class Karpenter(FakeCluster):
    """Gives every pool a status at the `answers_at`-th look; `status` may be one that is not Ready."""

    def __init__(self, answers_at=1, status=READY, nodes=()):
        super().__init__()
        self.answers_at, self.status, self.looks = answers_at, status, 0
        for number, spec in enumerate(nodes):
            self.objects[("Node", f"n{number}")] = {"metadata": {"name": f"n{number}", "labels": {}}, "spec": spec}

    def apply(self, objects):
        new = {o["metadata"]["name"] for o in objects if ("NodePool", o["metadata"]["name"]) not in self.objects}
        applied = super().apply(objects)
        return [replace(a, action="created" if a.name in new else "unchanged") for a in applied]

    def list(self, kind, labels=None):
        if kind == "NodePool":
            self.looks += 1
            if self.looks >= self.answers_at:
                for (found, _), pool in self.objects.items():
                    if found == "NodePool":
                        pool["status"] = self.status
        return super().list(kind, labels)


class Probe:
    """Instead of pods: what they would have shown."""

    def __init__(self, fence=None, comes=None):
        self._fence = fence or passed("gpu_pool_fenced", "kept off")
        self._comes = comes or passed("gpu_node_comes", "a node came")
        self.asked = []

    def fence(self, pool):
        self.asked.append(f"fence {pool}")
        return self._fence

    def provision(self, gpu):
        self.asked.append(f"node {gpu.instance_family}")
        return self._comes


def prove(cluster, specs=(GPU, CPU), probe=None, probe_gpu="auto"):
    profile = replace(EKS, probe_gpu=probe_gpu)
    return PoolProof(cluster, profile, probe or Probe(), lambda _: None).prove(specs)


def outcomes(proof):
    return {v.check: str(v.outcome) for v in proof.verdicts}


def test_where_nothing_acts_on_pools_the_judgement_is_static_and_says_so():
    proof = prove(FakeCluster())

    assert proof.form == "static"
    assert [v.check for v in proof.verdicts] == CHECKS
    assert set(outcomes(proof).values()) == {"passed"}
    assert "Not tried: this cluster starts none." in proof.verdicts[-1].summary


def test_where_there_is_no_karpenter_the_pools_are_judged_and_not_applied():
    class Bare(FakeCluster):
        def apply(self, objects):
            if any(o["kind"] == "NodePool" for o in objects):
                raise UnknownKind("The cluster does not know nodepools.karpenter.sh.")
            return super().apply(objects)

    proof = prove(Bare())

    assert proof.form == "static"
    assert "judged and not applied" in proof.verdicts[0].summary
    assert set(outcomes(proof).values()) == {"passed"}


def test_where_nodes_cost_money_nothing_is_started_unless_asked():
    dry, bought = Probe(), Probe()

    simulated = prove(Karpenter(nodes=[{"providerID": "aws:///us-east-1a/i-0"}]), probe=dry)
    probed = prove(Karpenter(nodes=[{"providerID": "aws:///us-east-1a/i-0"}]), probe=bought, probe_gpu="buy")

    assert (simulated.form, dry.asked) == ("simulated", [])
    assert "NodePool gpu would bring a g6e.xlarge. Simulated, since a GPU costs money" in simulated.verdicts[-1].summary
    assert (probed.form, bought.asked) == ("probed", ["fence gpu", "node g6e"])


def test_simulated_nodes_are_probed_without_asking_unless_forbidden():
    kwok = [{"providerID": "kwok://n0"}]

    assert prove(Karpenter(nodes=kwok)).form == "probed"
    assert prove(Karpenter(nodes=kwok), probe_gpu="never").form == "simulated"
    assert prove(Karpenter(nodes=[*kwok, {"providerID": "aws:///x"}])).form == "simulated"


def test_without_a_model_on_gpus_no_node_is_asked_for():
    probe = Probe()

    proof = prove(Karpenter(), [CPU], probe, "buy")

    assert probe.asked == ["fence gpu"]
    assert "No model asks for a GPU" in proof.verdicts[-1].summary


@pytest.mark.parametrize("made", [failed, inconclusive])
def test_what_the_probes_found_is_the_verdict(made):
    fence = prove(Karpenter(), probe=Probe(fence=made("gpu_pool_fenced", "landed")), probe_gpu="buy")
    comes = prove(Karpenter(), probe=Probe(comes=made("gpu_node_comes", "no node")), probe_gpu="buy")

    assert not fence.verdicts[2].passed
    assert fence.verdicts[2].evidence["pools"]
    assert not comes.verdicts[-1].passed


def test_a_requirement_that_nothing_meets_is_not_applied(monkeypatch):
    from genai_pipeline.rollout.pools import pool_proof

    def misspelt(*args):
        pools = render(*args)
        pools[-1]["spec"]["template"]["spec"]["requirements"][0]["key"] = "eks.amazonaws.com/instance-famly"
        return pools

    render = pool_proof.render_node_pools
    monkeypatch.setattr(pool_proof, "render_node_pools", misspelt)
    cluster = Karpenter()

    proof = prove(cluster)

    assert FakeCluster.list(cluster, "NodePool") == []
    assert outcomes(proof)["requirements_known"] == outcomes(proof)["accepted"] == "failed"
    assert [v.check for v in proof.verdicts] == CHECKS


def test_karpenter_is_given_time_to_answer():
    assert prove(Karpenter(answers_at=4), probe_gpu="buy").form == "probed"


def test_a_pool_that_karpenter_cannot_use_fails_with_its_reason():
    conditions = [
        {"type": "NodeClassReady", "status": "False", "message": "NodeClass not found"},
        {"type": "Ready", "status": "False"},
    ]

    proof = prove(Karpenter(status={"conditions": conditions}), probe_gpu="buy")

    assert outcomes(proof)["accepted"] == "failed"
    assert "NodeClassReady False: NodeClass not found" in proof.verdicts[0].summary


def test_a_pool_that_karpenter_never_judges_is_inconclusive():
    undecided = {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "AwaitingReconciliation"}]}

    proof = prove(Karpenter(status=undecided), probe_gpu="buy")

    assert outcomes(proof)["accepted"] == "inconclusive"


def test_a_full_pool_is_not_asked_for_a_node():
    full = READY | {"resources": {"nvidia.com/gpu": "2"}}
    probe = Probe()

    proof = prove(Karpenter(status=full), [GPU], probe, "buy")

    assert probe.asked == ["fence gpu"]
    assert "is full now (nvidia.com/gpu: 2 of 2 in use)" in proof.verdicts[-1].summary


def test_the_form_stands_in_the_evidence():
    assert prove(Karpenter(), probe_gpu="buy").verdicts[-1].evidence["form"] == "probed"
    assert isinstance(prove(Karpenter()).verdicts[0].evidence["objects"][0]["action"], str)
    assert Applied("NodePool", "gpu", "created").enforced


@pytest.mark.parametrize("profile", [PROFILE, KUBERNETES])
def test_outside_eks_no_pool_is_judged_applied_or_waited_for(profile):
    cluster, waits, probe = Karpenter(answers_at=9), [], Probe()

    proof = PoolProof(cluster, profile, probe, sleep=waits.append).prove([GPU, CPU])

    assert (proof.form, waits, probe.asked) == ("none", [], [])
    assert proof.verdicts == []
    assert FakeCluster.list(cluster, "NodePool") == []
    assert FakeCluster.list(cluster, "NetworkPolicy")


def test_where_another_manager_owns_a_misspelt_requirement_the_misspelling_is_named():
    class Owned(Karpenter):
        def apply(self, objects):
            if any(o["kind"] == "NodePool" for o in objects):
                raise FieldConflict("NodePool gpu: requirements is owned by 'kubectl-replace'.", "Take it back.")
            return super().apply(objects)

    cluster = Owned()
    requirements = [{"key": "eks.amazonaws.com/instance-familly", "operator": "In", "values": ["g6e"]}]
    spec = {"template": {"spec": {"nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass"}}}}
    spec["template"]["spec"]["requirements"] = requirements
    cluster.objects["NodePool", "gpu"] = {"kind": "NodePool", "metadata": {"name": "gpu", "labels": {}}, "spec": spec}

    with pytest.raises(FieldConflict, match=r"kubectl-replace.*no node carries the label.*instance-familly"):
        prove(cluster)
