"""Counts the room for pods in node pools: on nodes that run, and on new nodes that the limits allow. Pure.

Karpenter starts a node only while the pool's nodes, the new one included, stay within `limits`.
Source: Karpenter documentation, "NodePools: spec.limits".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.gpu_nodes import NVIDIA_GPU
from genai_pipeline.gateways.aws.abc import InstanceType
from genai_pipeline.gateways.cluster.free_resources import FreeNode, limits_left
from genai_pipeline.gateways.cluster.pods import GIB, Object, requests_of
from genai_pipeline.rollout.pools.instance_types import InstanceTypes
from genai_pipeline.rollout.pools.node_fit import tolerates_all, types_for, why_not_in
from genai_pipeline.rollout.pools.node_labels import NODE_POOL
from genai_pipeline.rollout.pools.node_offer import selects

ANY_NUMBER = 10_000
"""Nodes that a pool without a limit may have: more than any model asks for."""
FOR_PODS = 0.95
"""Share of a node's CPU and memory that is left for pods. The kubelet and the add-ons use the rest."""


@dataclass(frozen=True)
class PoolRoom:
    """How many replicas one pool can still take.

    Args:
        on_nodes: replicas on nodes that run.
        on_new_nodes: replicas on nodes that the limits still allow.
        per_node: pods of the engine on one new node.
        new_node: the cheapest type that can hold one replica, or None where no such type is known.
        limits: the pool's limits and their use, for people.
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


def pool_rooms(pod: Object, pools: Sequence[Object], nodes: Sequence[FreeNode], known: InstanceTypes) -> list[PoolRoom]:
    """Return the room in each pool that can host a pod of this spec, the most room first.

    Args:
        pools: with Karpenter's status, which sums up their nodes.
    """
    found = [_pool_room(pod, pool, nodes, known) for pool in pools if why_not_in(pod, pool, known) == ""]
    return sorted(found, key=lambda r: (-r.replicas, r.pool))


def outside_pools(nodes: Sequence[FreeNode]) -> list[FreeNode]:
    """Return the nodes that no NodePool started."""
    return [one for one in nodes if not _pool_of(one)]


def replicas_on(nodes: Sequence[FreeNode], pod: Object) -> int:
    """Return how many pods of this spec have room on these nodes."""
    return sum(_fit_on(one, pod) for one in nodes if _takes(one.node, pod))


def _pool_of(one: FreeNode) -> str:
    return str((one.node["metadata"].get("labels") or {}).get(NODE_POOL) or "")


def _pool_room(pod: Object, pool: Object, nodes: Sequence[FreeNode], known: InstanceTypes) -> PoolRoom:
    name = pool["metadata"]["name"]
    new_node = next(iter(types_for(pod, pool, known)), None)
    per_node = _per_node(pod, new_node)
    on_nodes = replicas_on([one for one in nodes if _pool_of(one) == name], pod)
    return PoolRoom(name, on_nodes, _new_nodes(pool, new_node, pod) * per_node, per_node, new_node, _limits_of(pool))


def _limits_of(pool: Object) -> str:
    limits, used = pool["spec"].get("limits") or {}, (pool.get("status") or {}).get("resources") or {}
    return ", ".join(f"{k}: {used.get(k, 0)} of {v} in use" for k, v in sorted(limits.items())) or "none"


def _new_nodes(pool: Object, new_node: InstanceType | None, pod: Object) -> int:
    """Return how many such nodes the limits allow. Where no type is known, a node has the size of the pod."""
    size = requests_of(pod)
    if new_node:
        size = {"cpu": new_node.vcpus, "memory": new_node.memory_gib * GIB, NVIDIA_GPU: new_node.gpus, "nodes": 1}
    left = limits_left(pool)
    return max(0, min((int(left[key] // size[key]) for key in left if size.get(key)), default=ANY_NUMBER))


def _per_node(pod: Object, node: InstanceType | None) -> int:
    if node is None:
        return 1
    has = {"cpu": node.vcpus * FOR_PODS, "memory": node.memory_gib * GIB * FOR_PODS, NVIDIA_GPU: node.gpus}
    fit = [int(has[key] // amount) for key, amount in requests_of(pod).items() if amount and key in has]
    return max(1, min(fit, default=1))


def _takes(node: Object, pod: Object) -> bool:
    spec = node.get("spec") or {}
    tolerated = not spec.get("unschedulable") and tolerates_all(pod, spec.get("taints") or [])
    return tolerated and selects(pod, node)


def _fit_on(one: FreeNode, pod: Object) -> int:
    wants = {**requests_of(pod), "pods": 1.0}
    return max(0, min(math.floor(one.free.get(k, 0.0) / v) for k, v in wants.items() if v))
