"""What the scheduler and Karpenter say of a pod without a node, and when there is still hope."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause
from genai_pipeline.gateways.cluster.diagnosis.scheduling import scheduling_cause

NOTHING_FREES = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
NO_NODE = f"0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {NOTHING_FREES}"
SYSTEM = "did not tolerate taint (taint=CriticalAddonsOnly:NoSchedule)"
GPU_TAINT = "did not tolerate taint (taint=nvidia.com/gpu:NoSchedule)"
TOO_SMALL = "no instance type has enough resources, requirements=karpenter.sh/nodepool In [gpu], resources={}"
P9 = (
    "incompatible requirements, key eks.amazonaws.com/instance-family, eks.amazonaws.com/instance-family In [p9]"
    " not in eks.amazonaws.com/instance-family In [g6e]"
)
MISSPELT = (
    'incompatible requirements, label "eks.amazonaws.com/instance-famly" does not have known values'
    ' (typo of "eks.amazonaws.com/instance-family"?)'
)
MISSPELT_KEY = "eks.amazonaws.com/instance-famly"
FAMILIES = {"key": "eks.amazonaws.com/instance-family", "operator": "In", "values": ["g6e"]}
LIMIT = "all available instance types exceed limits for nodepool (NodePool=gpu)"


def pod(said: str = NO_NODE, gpus: int = 1, family: str = "g6e", **resources: str) -> dict[str, Any]:
    asked: dict[str, Any] = {"cpu": "1", **resources} | ({"nvidia.com/gpu": gpus} if gpus else {})
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": said}
    return {
        "metadata": {"name": "p"},
        "spec": {
            "containers": [{"name": "c", "resources": {"requests": asked}}],
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "nodeSelector": {"eks.amazonaws.com/instance-family": family},
        },
        "status": {"conditions": [condition]},
    }


def pool(name: str = "gpu", ready: str = "True", used: str = "0", **limits: str) -> dict[str, Any]:
    taints = [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}] if name == "gpu" else []
    usage = {"nvidia.com/gpu": used} if used != "0" else {}
    return {
        "metadata": {"name": name},
        "spec": {"limits": {k.replace("gpu", "nvidia.com/gpu"): v for k, v in limits.items()}}
        | {"template": {"spec": {"taints": taints, "requirements": [FAMILIES]}}},
        "status": {"resources": usage, "conditions": [{"type": "Ready", "status": ready}]},
    }


def refused(*errors: str) -> ClusterEvent:
    text = f"Failed to schedule pod, {'; '.join(errors)}"
    return ClusterEvent("1", "Pod", "p", "Warning", "FailedScheduling", text)


NOMINATED = ClusterEvent("2", "Pod", "p", "Normal", "Nominated", "Pod should schedule on: nodeclaim/gpu-x")


def cause(*errors: str, of: dict[str, Any] | None = None, pools: list[dict[str, Any]] | None = None) -> Cause:
    found = scheduling_cause(of or pod(), [refused(*errors)], [pool()] if pools is None else pools)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("errors", "what", "remedy"),
    [
        ((SYSTEM, TOO_SMALL, GPU_TAINT), "taint nvidia.com/gpu:NoSchedule of node pool gpu", "serving.gpu"),
        ((SYSTEM, P9), "In [p9] that the pod requires (offered: eks.amazonaws.com/instance-family In [g6e]", "family"),
        ((MISSPELT, MISSPELT), "Did you mean eks.amazonaws.com/instance-family?", "nodeSelector"),
    ],
)
def test_what_no_pool_offers_is_final(errors: tuple[str, ...], what: str, remedy: str) -> None:
    found = cause(*errors)

    assert found.final
    assert what in found.what
    assert remedy in found.remedy


def test_a_pod_without_a_gpu_does_not_hear_of_the_taint_of_gpu_nodes() -> None:
    found = cause(SYSTEM, GPU_TAINT, TOO_SMALL, of=pod(gpus=0, cpu="900"), pools=[pool("general")])

    assert "enough resources" in found.what
    assert "cpu 900" in found.what
    assert found.final


def test_a_limit_is_named_with_its_use_and_may_give_way() -> None:
    found = cause(SYSTEM, LIMIT, pools=[pool(gpu="2", used="2")])

    assert "node pool gpu is reached (nvidia.com/gpu: 2, 2 in use, 1 asked)" in found.what
    assert not found.final


def test_a_full_pool_that_would_not_take_the_pod_anyway_is_not_the_cause() -> None:
    full = [pool(gpu="2", used="2")]

    assert "In [p9]" in cause(LIMIT, P9, of=pod(family="p9"), pools=full).what
    assert "limit of node pool gpu" in cause(LIMIT, P9, of=pod(family="g6e"), pools=full).what


def test_an_instance_type_that_no_pool_has_is_named_by_what_the_pod_selects() -> None:
    found = cause("no instance type met all requirements, requirements=karpenter.sh/nodepool In [gpu], resources={}")

    assert "instance-family: g6e" in found.what
    assert found.final


def test_a_limit_below_what_one_pod_asks_never_gives_way() -> None:
    assert cause(LIMIT, of=pod(gpus=4), pools=[pool(gpu="2")]).final


def test_instances_that_are_too_small_only_because_of_a_limit_leave_hope() -> None:
    assert cause(TOO_SMALL, pools=[pool(gpu="4")]).final
    assert not cause(TOO_SMALL, pools=[pool(gpu="4", used="2")]).final


def test_a_label_that_karpenter_does_not_guess_is_guessed_from_the_pools() -> None:
    found = cause('incompatible requirements, label "eks.amazonaws.com/instance-famly" does not have known values')

    assert "Did you mean eks.amazonaws.com/instance-family?" in found.what


@pytest.mark.parametrize(("late", "final"), [(FAMILIES, True), (FAMILIES | {"key": MISSPELT_KEY}, False)])
def test_a_pool_that_is_never_ready_leaves_hope_only_where_it_names_the_label(late: Any, final: bool) -> None:
    not_ready = pool("late", ready="False")
    not_ready["spec"]["template"]["spec"]["requirements"] = [late]
    selecting = pod()
    selecting["spec"]["nodeSelector"] = {MISSPELT_KEY: "g6e"}

    assert cause(MISSPELT, of=selecting, pools=[pool(), not_ready]).final is final


def test_what_the_cloud_lacks_now_goes_before_what_other_pools_never_have() -> None:
    never = "no instance type met the scheduling requirements or had enough resources, requirements=x, resources={}"

    assert not cause(never, "no instance type has the required offering, requirements=x, resources={}").final


def test_capacity_that_the_cloud_lacks_now_may_come() -> None:
    found = cause("no instance type has the required offering, requirements=x, resources={}")

    assert "cloud has no instance" in found.what
    assert not found.final


def test_a_node_that_is_being_made_is_no_cause_at_all() -> None:
    assert scheduling_cause(pod(), [refused(P9), NOMINATED], [pool()]) is None
    assert scheduling_cause(pod(), [NOMINATED, refused(P9)], [pool()]) is not None


def test_while_a_pool_is_not_ready_nothing_is_final() -> None:
    assert not cause(P9, pools=[pool(), pool("late", ready="Unknown")]).final


def test_a_node_that_others_may_leave_keeps_up_hope() -> None:
    busy = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims"

    assert not cause(P9, of=pod(busy)).final


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("0/2 nodes are available: 2 Insufficient cpu.", "insufficient cpu (1 asked)"),
        ("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.", "insufficient nvidia.com/gpu"),
        ("0/2 nodes are available: 2 node(s) had untolerated taint(s).", "taint of any node"),
        ("0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints.", "topology spread"),
        ("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.", "affinity to other pods"),
        ("0/2 nodes are available: 2 node(s) were unschedulable.", "cordoned"),
        ("no nodes available to schedule pods", "There is no node"),
        ("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", "not bound"),
    ],
)
def test_without_karpenter_the_nodes_tell_the_cause_and_more_may_come(said: str, what: str) -> None:
    found = scheduling_cause(pod(said), [], None)

    assert found is not None
    assert what in found.what
    assert not found.final


def test_a_claim_that_does_not_exist_is_final() -> None:
    found = scheduling_cause(pod('0/1 nodes are available: persistentvolumeclaim "w" not found.'), [], None)

    assert found is not None
    assert found.final


def test_without_any_pool_the_remedy_says_so() -> None:
    found = scheduling_cause(pod("no nodes available to schedule pods"), [], [])

    assert found is not None
    assert "platform/node_pools" in found.remedy


def elsewhere(said: str, resource: str = "nvidia.com/gpu", **selector: str) -> dict[str, Any]:
    """A pod with a GPU outside EKS."""
    made = pod(said, gpus=0)
    made["spec"]["nodeSelector"] = selector
    made["spec"]["containers"][0]["resources"]["requests"][resource] = 1
    return made


def test_outside_eks_the_selector_that_no_node_meets_is_named() -> None:
    asked = elsewhere(NO_NODE, **{"nvidia.com/gpu.product": "H100"})

    found = scheduling_cause(asked, [], [])

    assert found is not None
    assert "nvidia.com/gpu.product: H100" in found.what
    assert "`serving.gpu.selector`" in found.remedy
    assert "There is no node pool that could bring one." in found.remedy
    assert "platform/node_pools" not in found.remedy
    assert not found.final


def test_nodes_with_the_labels_may_be_those_with_a_taint() -> None:
    said = (
        "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint"
    )

    found = scheduling_cause(elsewhere(said, sku="gpu"), [], None)

    assert found is not None
    assert "tolerate the taints of the other nodes" in found.remedy


@pytest.mark.parametrize("resource", ["nvidia.com/mig-1g.10gb", "amd.com/gpu"])
def test_a_resource_that_is_used_up_is_lowered_by_its_count(resource: str) -> None:
    found = scheduling_cause(elsewhere(f"0/1 nodes are available: 1 Insufficient {resource}.", resource), [], None)

    assert found is not None
    assert f"insufficient {resource} (1 asked)" in found.what
    assert "`serving.gpu.count`" in found.remedy


def test_a_label_that_no_pool_of_ones_own_karpenter_names_leads_to_the_selector() -> None:
    unknown = 'incompatible requirements, label "nvidia.com/gpu.product" does not have known values'

    found = cause(unknown, of=elsewhere(NO_NODE, **{"nvidia.com/gpu.product": "H100"}))

    assert found.final
    assert "the label nvidia.com/gpu.product" in found.what
    assert "`serving.gpu.selector`" in found.remedy


def test_a_taint_of_other_gpus_leads_to_the_tolerations() -> None:
    found = cause("did not tolerate taint (taint=amd.com/gpu:NoSchedule)", of=elsewhere(NO_NODE))

    assert "taint amd.com/gpu:NoSchedule" in found.what
    assert "`serving.gpu.tolerations`" in found.remedy


def test_a_pod_that_has_its_node_has_no_such_cause() -> None:
    there = pod()
    there["status"]["conditions"][0]["status"] = "True"

    assert scheduling_cause(there, [refused(P9)], [pool()]) is None
