"""Room for a candidate in the node pools: on nodes that run, and on the new ones that the limits allow. Pure.

Karpenter starts a node only while the pool's nodes, the new one included, stay within `limits`.
Source: Karpenter documentation, "NodePools: spec.limits".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.rollout.pools.auto_mode_labels import NODE_POOL
from genai_pipeline.rollout.pools.instance_types import InstanceType, instance_types
from genai_pipeline.rollout.pools.matching import GPU, hosts_type, pools_for, tolerates_all
from genai_pipeline.rollout.pools.pool_requirements import pod_terms
from genai_pipeline.rollout.pools.quantity import GIB, quantity, requested

Object = Mapping[str, Any]
ANY_NUMBER = 10_000
"""Nodes that a pool without a limit may have: more than anybody asks for."""
FOR_PODS = 0.95
"""Share of a node's CPU and memory that is left for pods; the kubelet and the add-ons keep the rest."""


@dataclass(frozen=True)
class PoolRoom:
    """How many replicas one pool can still take: on nodes that run, and on the new ones its limits allow.

    `new_node` is the cheapest type that can hold one replica; None where no type that we know can.
    """

    pool: str
    on_nodes: int
    on_new_nodes: int
    per_node: int
    new_node: InstanceType | None
    limits: str

    @property
    def replicas(self) -> int:
        return self.on_nodes + self.on_new_nodes

    @property
    def row(self) -> dict[str, Any]:
        new = self.new_node.name if self.new_node else ""
        room = {"on_running_nodes": self.on_nodes, "on_new_nodes": min(self.on_new_nodes, ANY_NUMBER)}
        return {"pool": self.pool, "limits": self.limits, **room, "new_node": new}


def pool_rooms(pod: Object, pools: Sequence[Object], nodes: Sequence[Object], pods: Sequence[Object]) -> list[PoolRoom]:
    """Room in each pool that can host a pod of this spec, best first.

    Args:
        pools: with Karpenter's status, which says what their nodes add up to.
        pods: those that run or are about to; of other namespaces too where they can be read.
    """
    found = [_pool_room(pod, pool, nodes, pods) for pool in pools_for(pod, pools)]
    return sorted(found, key=lambda r: (-r.replicas, r.pool))


def _pool_room(pod: Object, pool: Object, nodes: Sequence[Object], pods: Sequence[Object]) -> PoolRoom:
    name = pool["metadata"]["name"]
    new_node = next((t for t in instance_types() if hosts_type(pool, pod, t)), None)
    per_node = _per_node(pod, new_node)
    mine = [n for n in nodes if (n["metadata"].get("labels") or {}).get(NODE_POOL) == name and _takes(n, pod)]
    on_nodes = sum(_slots(node, pod, pods) for node in mine)
    limits, used = pool["spec"].get("limits") or {}, (pool.get("status") or {}).get("resources") or {}
    said = ", ".join(f"{k}: {used.get(k, 0)} of {v} in use" for k, v in sorted(limits.items())) or "none"
    return PoolRoom(name, on_nodes, _new_nodes(limits, used, new_node, pod) * per_node, per_node, new_node, said)


def _new_nodes(limits: Object, used: Object, new_node: InstanceType | None, pod: Object) -> int:
    """Nodes of that type that the pool's limits still allow; of the pod's own size where no type is known."""
    size = requested(pod)
    if new_node:
        size = {"cpu": new_node.vcpus, "memory": new_node.memory_gib * GIB, GPU: new_node.gpus, "nodes": 1}
    left = {key: quantity(limit) - quantity(used.get(key, 0)) for key, limit in limits.items()}
    return max(0, min((int(left[key] // size[key]) for key in left if size.get(key)), default=ANY_NUMBER))


def _per_node(pod: Object, node: InstanceType | None) -> int:
    if node is None:
        return 1
    has = {"cpu": node.vcpus * FOR_PODS, "memory": node.memory_gib * GIB * FOR_PODS, GPU: node.gpus}
    fit = [int(has[key] // amount) for key, amount in requested(pod).items() if amount and key in has]
    return max(1, min(fit, default=1))


def _takes(node: Object, pod: Object) -> bool:
    spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    if spec.get("unschedulable") or not tolerates_all(pod, spec.get("taints") or []):
        return False
    return any(all(r.allows(labels.get(r.key)) for r in term) for term in pod_terms(pod))


def _slots(node: Object, pod: Object, pods: Sequence[Object]) -> int:
    free = {k: quantity(v) for k, v in ((node.get("status") or {}).get("allocatable") or {}).items()}
    on_it = [p for p in pods if p["spec"].get("nodeName") == node["metadata"]["name"] and not _ended(p)]
    for other in on_it:
        for key, amount in requested(other["spec"]).items():
            free[key] = free.get(key, 0.0) - amount
    free["pods"] = free.get("pods", 110.0) - len(on_it)
    wants = {**requested(pod), "pods": 1.0}
    return max(0, min(math.floor(free.get(k, 0.0) / v) for k, v in wants.items() if v))


def _ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
