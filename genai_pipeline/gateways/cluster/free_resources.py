"""Reads what nodes, node pools and quotas have left: cores, bytes, pieces by resource. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from genai_pipeline.gateways.cluster.pods import Object, has_ended, quantity, requests_together

PODS_OF_A_NODE = 110.0
"""A kubelet's default; nodes say their own number."""


@dataclass(frozen=True)
class FreeNode:
    """A node, and what it has left for further pods: cores, bytes, pieces by resource."""

    node: Object
    free: Mapping[str, float]


def free_nodes(nodes: Sequence[Object], pods: Sequence[Object]) -> tuple[FreeNode, ...]:
    """Return the nodes with what `pods` leave of them. Count the pods of every namespace."""
    return tuple(FreeNode(node, free_on(node, pods)) for node in nodes)


def without_pods(nodes: Sequence[FreeNode], leaving: Sequence[Object]) -> list[FreeNode]:
    """Return the nodes as they are once these pods, which were counted, have left them."""
    by_node: dict[str, list[Object]] = {}
    for pod in leaving:
        if not has_ended(pod):
            by_node.setdefault(str((pod.get("spec") or {}).get("nodeName")), []).append(pod)
    back = {name: requests_together(pods) for name, pods in by_node.items()}
    return [
        replace(one, free={**one.free, **{k: one.free.get(k, 0.0) + v for k, v in given.items()}})
        for one in nodes
        for given in [back.get(one.node["metadata"]["name"], {})]
    ]


def free_on(node: Object, pods: Sequence[Object]) -> dict[str, float]:
    """Return what the node has left for further pods, `pods` included; negative where it is overcommitted."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    free = {"pods": PODS_OF_A_NODE} | {name: quantity(amount) for name, amount in allocatable.items()}
    name = node["metadata"]["name"]
    taken = requests_together(p for p in pods if (p.get("spec") or {}).get("nodeName") == name and not has_ended(p))
    return {resource: free.get(resource, 0.0) - taken.get(resource, 0.0) for resource in free.keys() | taken.keys()}


def limits_left(pool: Object) -> dict[str, float]:
    """Return what the limits of a NodePool leave for new nodes. A resource without a limit is not in it."""
    used = (pool.get("status") or {}).get("resources") or {}
    limits = (pool.get("spec") or {}).get("limits") or {}
    return {name: quantity(limit) - quantity(used.get(name, 0)) for name, limit in limits.items()}


def quota_left(quota: Object) -> Iterator[tuple[str, str, float]]:
    """Yield the key of each line of a ResourceQuota, the resource that it counts, and what it leaves.

    A quota with scopes yields nothing: whether it counts a pod depends on more than the pod's requests.

    Source: Kubernetes documentation, "Resource Quotas".
    """
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    if spec.get("scopes") or spec.get("scopeSelector"):
        return
    used = status.get("used") or {}
    for key, hard in (status.get("hard") or {}).items():
        yield key, key.removeprefix("requests."), quantity(hard) - quantity(used.get(key, 0))
