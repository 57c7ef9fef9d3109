"""Which node pools can host a pod: its taints, its requirements, and an instance that is large enough. Pure.

What Karpenter would decide, without asking it and without buying a node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.rollout.pools.auto_mode_labels import CPU, GPU_COUNT, MEMORY, NODE_LABELS, NODE_POOL, VALUES
from genai_pipeline.rollout.pools.instance_types import InstanceType
from genai_pipeline.rollout.pools.pool_requirements import pod_terms
from genai_pipeline.rollout.pools.quantity import requested
from genai_pipeline.rollout.pools.requirement import Requirement, labels_of, satisfiable

GPU = "nvidia.com/gpu"

Object = Mapping[str, Any]


def pools_for(pod: Object, pools: Sequence[Object]) -> list[Object]:
    """The pools whose nodes could run a pod of this spec."""
    return [pool for pool in pools if why_not_in(pod, pool) == ""]


def why_not_in(pod: Object, pool: Object) -> str:
    """Why a pod of this spec cannot run in this pool, in the scheduler's words where it has some; empty if it can."""
    taint = untolerated(pod, pool)
    if taint:
        return f"did not tolerate taint {taint['key']}:{taint['effect']}"
    offered = _offered(pool)
    for term in pod_terms(pod):
        missing = [r for r in term if r.key not in NODE_LABELS and r.key not in {o.key for o in offered}]
        if not missing and satisfiable([*offered, *term, *_size_of(pod)]):
            return ""
    return "no instance of the pool has what the pod selects and requests"


def untolerated(pod: Object, pool: Object) -> Object | None:
    """The first taint of the pool that keeps the pod off; PreferNoSchedule keeps nobody off."""
    return next((t for t in taints(pool) if not tolerates_all(pod, [t])), None)


def tolerates_all(pod: Object, kept: Sequence[Object]) -> bool:
    """Whether the pod tolerates every one of these taints that would keep it off."""
    hard = [t for t in kept if t["effect"] != "PreferNoSchedule"]
    return all(any(_tolerates(one, t) for one in pod.get("tolerations") or []) for t in hard)


def hosts_type(pool: Object, pod: Object, one: InstanceType) -> bool:
    """Whether the pool may start this instance type, and the pod would fit on an empty one."""
    labels = labels_of(one)
    terms = [[*_offered(pool), *term, *_size_of(pod)] for term in pod_terms(pod)]
    return any(all(r.key not in labels or r.allows(labels[r.key]) for r in term) for term in terms)


def offers_gpus(pool: Object) -> bool:
    """Whether some instance that the pool may start has a GPU; one without requirements may start any."""
    return satisfiable([*_offered(pool), Requirement(GPU_COUNT, "Exists")])


def taints(pool: Object) -> list[Object]:
    return pool["spec"]["template"]["spec"].get("taints", [])


def is_fenced(pool: Object) -> bool:
    """Whether the pool keeps pods off that do not ask for a GPU."""
    return any(t["key"] == GPU and t["effect"] in ("NoSchedule", "NoExecute") for t in taints(pool))


def _offered(pool: Object) -> list[Requirement]:
    template = pool["spec"]["template"]
    labels = template.get("metadata", {}).get("labels", {}) | {NODE_POOL: pool["metadata"]["name"]}
    labelled = [Requirement(key, "In", (str(value),)) for key, value in labels.items()]
    return [*(Requirement.of(r) for r in template["spec"].get("requirements", [])), *labelled]


def _size_of(pod: Object) -> list[Requirement]:
    """What the pod requests, as requirements. More than it, since the kubelet keeps a part of every node."""
    wants = requested(pod)
    found = [Requirement(key, "Gt", (str(int(wants.get(name, 0) / unit)),)) for key, name, unit in _RESOURCES]
    gpus = int(wants.get(GPU, 0))
    enough = tuple(sorted(count for count in VALUES[GPU_COUNT] if int(count) >= gpus))
    return [*found, Requirement(GPU_COUNT, "In", enough)] if gpus else found


_RESOURCES = ((CPU, "cpu", 1), (MEMORY, "memory", 2**20))


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
