import copy

import pytest

from genai_pipeline.core.release import Release
from genai_pipeline.k8s.render import render_agent, render_engine, render_node_pools
from genai_pipeline.rollout.pools.pool_requirements import (
    judge_live_requirements,
    judge_requirements,
    pod_problems,
    pool_problems,
)
from tests.fakes.model_texts import model_with_tools
from tests.fakes.world import EKS as ON_EKS

EKS = "eks.amazonaws.com/"
GPU = model_with_tools(
    "name: big\nsource: {hub: a/b}\nserving: {gpu: {instance-family: p5, reservation: required}}\n", "f"
)
CPU = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "f")


def pool(*requirements, **template):
    written = [{"key": k, "operator": o, "values": list(v)} for k, o, v in requirements]
    ref = {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"}
    spec = {"nodeClassRef": template.get("ref", ref), "requirements": written}
    metadata = {"labels": template.get("labels", {})}
    return {"metadata": {"name": "gpu"}, "spec": {"template": {"metadata": metadata, "spec": spec}}}


def said(found):
    return " · ".join(map(str, found))


@pytest.fixture
def ours():
    pools = [o for o in render_node_pools(ON_EKS, [GPU, CPU]) if o["kind"] == "NodePool"]
    release = Release.of(GPU, "a" * 40)
    return pools, [render_engine(GPU, release, ON_EKS)[0], render_agent(GPU, release, ON_EKS, "http://")[0]]


def test_our_own_pools_and_pods_can_be_met(ours):
    verdict = judge_requirements(*ours)

    assert verdict.passed
    assert verdict.summary == "Every requirement of 3 pools and 2 workloads can be met."


@pytest.mark.parametrize(
    ("requirement", "means"),
    [
        ((f"{EKS}instance-famly", "In", ["g6e"]), f"Did you mean `{EKS}instance-family`?"),
        ((f"{EKS}gpu-count", "In", ["1"]), f"Did you mean `{EKS}instance-gpu-count`?"),
        (("eks.amazon.com/instance-family", "In", ["g6e"]), f"Did you mean `{EKS}instance-family`?"),
        (("karpenter.k8s.aws/instance-family", "In", ["g6e"]), f"Did you mean `{EKS}instance-family`?"),
        (("karpenter.sh/capacitytype", "In", ["spot"]), "Did you mean `karpenter.sh/capacity-type`?"),
        (("kubernetes.io/arhc", "In", ["amd64"]), "Did you mean `kubernetes.io/arch`?"),
        (("kubernetes.io/os", "In", ["linux"]), "Leave it out."),
        ((f"{EKS}instance-family", "In", ["g6ee"]), "Did you mean `g6e`?"),
        ((f"{EKS}instance-family", "In", ["g6e", "m99"]), "Allowed: m4, m5"),
        (("karpenter.sh/capacity-type", "In", ["ondemand"]), "Did you mean `on-demand`?"),
        ((f"{EKS}instance-gpu-name", "In", ["L40S"]), "Allowed: "),
        ((f"{EKS}instance-gpu-count", "In", ["3"]), "Allowed: 1, 2, 4, 8."),
        ((f"{EKS}instance-cpu", "In", ["8 "]), "It is a whole number."),
        (("node.kubernetes.io/instance-type", "In", ["g6e"]), "<family>.<size>"),
        (("topology.kubernetes.io/zone", "In", ["us-east-1"]), "a zone, like us-east-1a"),
        ((f"{EKS}capacity-reservation-id", "In", ["cr-XYZ"]), "a reservation's id"),
        ((f"{EKS}instance-family", "NotIm", ["g6e"]), "Did you mean `NotIn`?"),
        ((f"{EKS}instance-family", "In", []), "Give it values."),
        ((f"{EKS}instance-gpu-name", "Exists", ["l4"]), "Leave them out"),
        ((f"{EKS}instance-family", "Gt", ["5"]), "Gt and Lt take one whole number."),
        ((f"{EKS}instance-cpu", "Gt", ["4", "8"]), "Gt and Lt take one whole number."),
        ((f"{EKS}instance-gpu-count", "Gt", ["8"]), "no instance of Auto Mode has"),
    ],
)
def test_one_requirement_that_nothing_meets_is_found_with_what_would_be_right(requirement, means):
    (found,) = pool_problems(pool(requirement))

    assert found.where == "NodePool gpu"
    assert means in str(found)


@pytest.mark.parametrize(
    "pair",
    [
        [(f"{EKS}instance-category", "In", ["m"]), (f"{EKS}instance-family", "In", ["g6e"])],
        [(f"{EKS}instance-category", "In", ["m", "c"]), (f"{EKS}instance-gpu-manufacturer", "Exists", [])],
        [(f"{EKS}instance-family", "In", ["m7i"]), (f"{EKS}instance-gpu-count", "Gt", ["0"])],
        [(f"{EKS}instance-family", "In", ["g6e"]), (f"{EKS}instance-gpu-name", "In", ["l4"])],
        [(f"{EKS}instance-family", "In", ["g6e"]), ("kubernetes.io/arch", "In", ["arm64"])],
        [(f"{EKS}instance-family", "In", ["g6e"]), ("node.kubernetes.io/instance-type", "In", ["g6e.3xlarge"])],
        [(f"{EKS}instance-family", "In", ["p5"]), (f"{EKS}instance-size", "In", ["2xlarge"])],
        [(f"{EKS}instance-generation", "Gt", ["6"]), (f"{EKS}instance-family", "In", ["m5", "c5"])],
    ],
)
def test_requirements_that_no_instance_type_meets_together_are_named(pair):
    (found,) = pool_problems(pool(*pair))

    assert "no instance of Auto Mode has" in found.what
    assert all(key in found.what for key, _, _ in pair)


@pytest.mark.parametrize(
    "requirements",
    [
        [("team", "In", ["ml"]), (f"{EKS}instance-category", "In", ["m"])],
        [(f"{EKS}instance-category", "In", ["m", "c"]), (f"{EKS}instance-generation", "Gt", ["4"])],
        [(f"{EKS}instance-family", "In", ["g6e", "m7i"]), (f"{EKS}instance-gpu-count", "Exists", [])],
        [(f"{EKS}instance-cpu", "Gt", ["8"]), (f"{EKS}instance-cpu", "Lt", ["32"])],
        [(f"{EKS}instance-local-nvme", "Gt", ["800"]), (f"{EKS}instance-family", "In", ["g6e"])],
        [(f"{EKS}instance-family", "NotIn", ["g6e"]), (f"{EKS}instance-gpu-name", "In", ["h200"])],
    ],
)
def test_what_can_be_met_is_left_alone(requirements):
    assert pool_problems(pool(*requirements)) == []


def test_a_class_that_auto_mode_ignores_is_found():
    ref = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}

    assert "nodeClassRef is EC2NodeClass.karpenter.k8s.aws" in said(pool_problems(pool(ref=ref)))


def test_a_label_of_the_pools_own_template_is_compared_with_its_requirements():
    contradicting = pool((f"{EKS}instance-family", "In", ["g6e"]), labels={f"{EKS}instance-family": "m7i"})

    assert "no instance of Auto Mode has" in said(pool_problems(contradicting))


@pytest.mark.parametrize(
    ("selector", "means"),
    [
        ({f"{EKS}instance-famly": "p5"}, "Did you mean"),
        ({f"{EKS}instance-family": "p55"}, "is never 'p55'"),
        ({f"{EKS}instance-family": "p5", f"{EKS}instance-gpu-name": "l4"}, "no instance of Auto Mode has"),
    ],
)
def test_a_pods_node_selector_is_judged_by_the_same(ours, selector, means):
    deployment = copy.deepcopy(ours[1][0])
    deployment["spec"]["template"]["spec"]["nodeSelector"] = selector

    assert means in said(pod_problems(deployment))
    assert not judge_requirements([], [deployment]).passed


def test_every_alternative_of_a_pods_affinity_has_to_be_right(ours):
    deployment = copy.deepcopy(ours[1][0])
    right = {"matchExpressions": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["reserved"]}]}
    wrong = {"matchExpressions": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["reservd"]}]}
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [right, wrong]}}
    deployment["spec"]["template"]["spec"]["affinity"] = {"nodeAffinity": terms}

    assert "Did you mean `reserved`?" in said(pod_problems(deployment))


def test_the_linux_of_a_pods_selector_is_no_mistake(ours):
    deployment = copy.deepcopy(ours[1][0])
    deployment["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/os": "linux"}

    assert pod_problems(deployment) == []


@pytest.mark.parametrize(
    "requirements",
    [
        [],
        [("kubernetes.io/arch", "In", ["amd64"]), ("karpenter.sh/capacity-type", "In", ["spot"])],
        [(f"{EKS}instance-family", "NotIn", ["t3"])],
    ],
)
def test_a_pool_that_may_bring_any_instance_type_is_found(requirements):
    (found,) = pool_problems(pool(*requirements))

    assert "a node may be of any" in str(found)
    assert f"{EKS}instance-family" in found.remedy


def live(name, *requirements, labels=None, group="eks.amazonaws.com"):
    found = pool(*requirements, ref={"group": group, "kind": "NodeClass", "name": "default"})
    return found | {"metadata": {"name": name, "labels": labels or {}}}


FAMILY = (f"{EKS}instance-family", "In", ["g6e"])
MISSPELT = (f"{EKS}instance-familly", "In", ["g6e"])


def test_pools_in_the_cluster_are_judged_as_rendered_ones_are():
    good, bad = live("own", FAMILY), live("gpu", MISSPELT)

    verdict = judge_live_requirements([good, bad])

    assert not verdict.passed
    assert verdict.evidence["problems"][0]["where"] == "NodePool gpu"
    assert f"Did you mean `{EKS}instance-family`?" in verdict.summary
    assert judge_live_requirements([good]).passed
    assert judge_live_requirements([]).passed


def test_pools_of_another_karpenter_are_judged_only_where_they_have_our_name_on_them():
    foreign = live("spot", ("karpenter.k8s.aws/instance-family", "In", ["g6e"]), group="karpenter.k8s.aws")
    ours = live("gpu", FAMILY, group="karpenter.k8s.aws", labels={"app.kubernetes.io/managed-by": "genai-pipeline"})

    assert judge_live_requirements([foreign]).passed
    assert "nodeClassRef" in judge_live_requirements([ours]).summary
