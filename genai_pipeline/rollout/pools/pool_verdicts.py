"""Judges node pools before any pod waits for a node: accepted, fenced, and with room for our pods. Pure.

A pod that no pool can host stays Pending for ever. Source: Karpenter documentation, "NodePools".
"""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.core.gpu_nodes import NVIDIA_GPU
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge
from genai_pipeline.gateways.cluster.abc import Applied, Difference
from genai_pipeline.gateways.cluster.pods import Object, PodGroup, condition, pod_groups
from genai_pipeline.rollout.pools.instance_types import InstanceTypes
from genai_pipeline.rollout.pools.node_fit import is_fenced, offers_gpus, why_not_in


def judge_accepted(applied: Sequence[Applied], left: Sequence[Difference], live: Sequence[Object] = ()) -> Verdict:
    """Return the verdict accepted: did the API take every pool as it was written, and can Karpenter use it?

    Args:
        left: differences that a dry run would still change.
        live: the pools as the cluster has them, with their conditions.
    """
    conditions = {_name(p): _not_ready(p) for p in live}
    rows = [
        {
            "kind": a.kind,
            "name": a.name,
            "action": a.action,
            "enforced": a.enforced,
            "not_ready": conditions.get(a.name),
        }
        for a in applied
    ]
    warnings = [w for a in applied for w in a.warnings]
    changed = [f"{d.kind} {d.name}: {d.field}" for d in left]
    unusable = [f"{name}: {why}" for name, why in conditions.items() if why]
    undecided = [_name(p) for p in live if is_undecided(p)]
    if undecided and not changed:
        why = f"Karpenter has not judged {', '.join(undecided)} yet: {'; '.join(unusable)}"
        return inconclusive("accepted", why, objects=rows, warnings=warnings)
    if changed:
        summary = f"The API changed or dropped fields: {', '.join(changed)}."
    elif unusable:
        summary = f"Karpenter cannot use {'; '.join(unusable)}"
    else:
        kept = "" if all(a.enforced for a in applied) else "; this cluster keeps but does not enforce them"
        summary = f"{len(applied)} objects applied{kept}."
    return judge("accepted", not (changed or unusable), summary, objects=rows, warnings=warnings)


def is_undecided(pool: Object) -> bool:
    """Return whether Karpenter has yet to say if it can use the pool."""
    return condition(pool, "Ready").get("status") not in ("True", "False")


def judge_gpu_fence(pools: Sequence[Object], known: InstanceTypes) -> Verdict:
    """Return the verdict gpu_pool_fenced: does a taint keep pods without the toleration off GPU nodes?"""
    rows = [{"pool": _name(p), "offers_gpus": offers_gpus(p, known), "fenced": is_fenced(p)} for p in pools]
    open_pools = [str(row["pool"]) for row in rows if row["offers_gpus"] and not row["fenced"]]
    if open_pools:
        summary = f"{', '.join(open_pools)}: GPU nodes without the taint {NVIDIA_GPU}:NoSchedule. Add it."
        return failed("gpu_pool_fenced", summary, pools=rows)
    return judge(
        "gpu_pool_fenced", True, f"Every pool with GPUs carries the taint {NVIDIA_GPU}:NoSchedule.", pools=rows
    )


def judge_selectors(pools: Sequence[Object], workloads: Sequence[Object], known: InstanceTypes) -> Verdict:
    """Return the verdict selectors_match: is there a pool for every pod, by labels, taints and size?"""
    rows = [_hosts(_group_name(o, group), group, pools, known) for o in workloads for group in pod_groups(o)]
    unplaced = [f"{row['pods']} ({row['kept_off']})" for row in rows if not row["pools"]]
    summary = (
        f"No pool can host {', '.join(unplaced)}. Compare serving.gpu and serving.resources with the pools."
        if unplaced
        else f"Each of {len(rows)} kinds of pods fits a pool."
    )
    return judge("selectors_match", not unplaced, summary, pods=rows)


def _group_name(workload: Object, group: PodGroup) -> str:
    return f"{_name(workload)} {group.name}".rstrip()


def _hosts(name: str, group: PodGroup, pools: Sequence[Object], known: InstanceTypes) -> dict[str, str]:
    reasons = {_name(pool): why_not_in(group.template["spec"], pool, known) for pool in pools}
    return {
        "pods": name,
        "pools": ", ".join(name for name, why in reasons.items() if not why),
        "kept_off": "; ".join(f"{name}: {why}" for name, why in reasons.items() if why),
    }


def _not_ready(pool: Object) -> str:
    """Return why a pool cannot be used, by its conditions, or an empty text where none of them says so."""
    conditions = (pool.get("status") or {}).get("conditions") or []
    if all(c["status"] == "True" for c in conditions if c["type"] == "Ready"):
        return ""
    unmet = [c for c in conditions if c["type"] != "Ready" and c["status"] != "True"]
    said = [f"{c['type']} {c['status']}: {c.get('message') or c.get('reason')}" for c in unmet]
    return "; ".join(said) or "not Ready"


def _name(obj: Object) -> str:
    return obj["metadata"]["name"]
