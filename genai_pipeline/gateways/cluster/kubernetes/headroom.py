"""Sums up the room for more pods: on the nodes, within Karpenter's limits, within the namespace's quota."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.gateways.cluster.abc import Headroom
from genai_pipeline.gateways.cluster.free_resources import free_nodes, limits_left, quota_left
from genai_pipeline.gateways.cluster.pods import GIB, Object

RESOURCES = ("cpu", "memory")
"""Only of these can a cluster have some in general. Which node has a GPU free is a matter of that node."""


def headroom_of(
    nodes: Sequence[Object], pods: Sequence[Object], pools: Sequence[Object], quotas: Sequence[Object]
) -> Headroom:
    """Return the room in the whole cluster. A pool without a limit makes that resource unlimited.

    Args:
        pods: of every namespace.
        quotas: of the pipeline's namespace.
    """
    every = free_nodes(nodes, pods)
    on_nodes = [one.free for one in every if not (one.node.get("spec") or {}).get("unschedulable")]
    free: dict[str, float | None] = {r: sum(max(0.0, one.get(r, 0.0)) for one in on_nodes) for r in RESOURCES}
    for pool in pools:
        left = limits_left(pool)
        for resource, now in free.items():
            if resource in left:
                free[resource] = None if now is None else now + max(0.0, left[resource])
            else:
                free[resource] = None
    for quota in quotas:
        for _, resource, left_over in quota_left(quota):
            if resource in free:
                now = free[resource]
                free[resource] = max(0.0, left_over if now is None else min(now, left_over))
    memory, cpu = free["memory"], free["cpu"]
    return Headroom(
        memory_gib=None if memory is None else round(memory / GIB, 2),
        cpu=None if cpu is None else round(cpu, 3),
        gpus=None,
        source=_source(len(nodes), len(pools), len(quotas)),
        nodes=every,
    )


def _source(nodes: int, pools: int, quotas: int) -> str:
    parts = [f"{nodes} nodes"]
    if pools:
        parts.append(f"limits of {pools} NodePools")
    if quotas:
        parts.append(f"{quotas} ResourceQuotas")
    return ", ".join(parts)
