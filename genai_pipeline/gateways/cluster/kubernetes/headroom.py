"""Room for more pods: what is free on the nodes, what Karpenter may still add, what the namespace's quota allows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from genai_pipeline.gateways.cluster.abc import Headroom
from genai_pipeline.gateways.cluster.quantities import amount

GPU = "nvidia.com/gpu"
RESOURCES = ("cpu", "memory", GPU)
GIB = 2**30

Amounts = dict[str, float]


def headroom_of(
    nodes: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    pools: Sequence[Mapping[str, Any]],
    quotas: Sequence[Mapping[str, Any]],
) -> Headroom:
    """Args: pods: of every namespace; quotas: of ours. A pool without a limit makes that resource unlimited."""
    free: dict[str, float | None] = {**_free_on(nodes, pods)}
    for pool in pools:
        limits = (pool.get("spec") or {}).get("limits") or {}
        used = (pool.get("status") or {}).get("resources") or {}
        for resource in RESOURCES:
            if resource in limits:
                left = max(0.0, amount(limits[resource]) - amount(used.get(resource, 0)))
                free[resource] = None if free[resource] is None else (free[resource] or 0.0) + left
            elif resource != GPU or _brings_gpus(pool):
                free[resource] = None
    _narrow(free, quotas)
    parts = [f"{len(nodes)} nodes"] + [f"limits of {len(pools)} NodePools"] * bool(pools)
    parts += [f"{len(quotas)} ResourceQuotas"] * bool(quotas)
    memory = free["memory"]
    return Headroom(
        memory_gib=None if memory is None else round(memory / GIB, 2),
        cpu=None if free["cpu"] is None else round(free["cpu"] or 0.0, 3),
        gpus=free[GPU],
        source=", ".join(parts),
    )


def _free_on(nodes: Sequence[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> Amounts:
    free: Amounts = dict.fromkeys(RESOURCES, 0.0)
    names: set[str] = set()
    for node in nodes:
        if (node.get("spec") or {}).get("unschedulable"):
            continue
        names.add(node["metadata"]["name"])
        allocatable = (node.get("status") or {}).get("allocatable") or {}
        for resource in RESOURCES:
            free[resource] += amount(allocatable.get(resource, 0))
    for pod in pods:
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if not ended and (pod.get("spec") or {}).get("nodeName") in names:
            for resource, wanted in requests_of(pod).items():
                free[resource] -= wanted
    return {resource: max(0.0, left) for resource, left in free.items()}


def requests_of(pod: Mapping[str, Any]) -> Amounts:
    """What the scheduler counts: the containers together, or the largest init container."""
    spec = pod["spec"]

    def of(containers: Iterable[Mapping[str, Any]], join: Callable[[list[float]], float]) -> Amounts:
        asked = [(c.get("resources") or {}).get("requests") or {} for c in containers]
        return {r: join([amount(a.get(r, 0)) for a in asked] or [0.0]) for r in RESOURCES}

    running, first = of(spec.get("containers") or [], sum), of(spec.get("initContainers") or [], max)
    return {resource: max(running[resource], first[resource]) for resource in RESOURCES}


def _brings_gpus(pool: Mapping[str, Any]) -> bool:
    """Whether a pool without a GPU limit has GPUs at all: ours are fenced by that taint."""
    template = ((pool.get("spec") or {}).get("template") or {}).get("spec") or {}
    return any(taint.get("key") == GPU for taint in template.get("taints") or [])


def _narrow(free: dict[str, float | None], quotas: Sequence[Mapping[str, Any]]) -> None:
    for quota in quotas:
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        for name, limit in hard.items():
            resource = name.removeprefix("requests.")
            if resource in free:
                left, now = max(0.0, amount(limit) - amount(used.get(name, 0))), free[resource]
                free[resource] = left if now is None else min(now, left)
