"""What Kubernetes does not tell us about node pools, checked before anything waits for a node. Pure.

A NodePool with a misspelt label stays Ready (`pool_requirements.py`), and a pod that no pool can host is Pending for
ever. Source: Karpenter documentation, "NodePools".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge
from genai_pipeline.gateways.cluster.abc import Applied, Difference
from genai_pipeline.rollout.pools.matching import GPU, is_fenced, offers_gpus, why_not_in

Object = Mapping[str, Any]


def judge_accepted(applied: Sequence[Applied], left: Sequence[Difference], live: Sequence[Object] = ()) -> Verdict:
    """Did the API take every pool as we wrote it, and can Karpenter use it?

    Args:
        left: what a dry run would still change.
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
        summary = f"The API changed or dropped what we wrote: {', '.join(changed)}."
    elif unusable:
        summary = f"Karpenter cannot use {'; '.join(unusable)}"
    else:
        kept = "" if all(a.enforced for a in applied) else "; this cluster keeps but does not enforce them"
        summary = f"{len(applied)} objects applied{kept}."
    return judge("accepted", not (changed or unusable), summary, objects=rows, warnings=warnings)


def is_undecided(pool: Object) -> bool:
    """Whether Karpenter has still to say if it can use the pool."""
    conditions = (pool.get("status") or {}).get("conditions") or []
    return not any(c["type"] == "Ready" and c["status"] in ("True", "False") for c in conditions)


def judge_gpu_fence(pools: Sequence[Object]) -> Verdict:
    """Can a pod without the toleration land on a GPU node, by what the pools say?"""
    rows = [{"pool": _name(p), "offers_gpus": offers_gpus(p), "fenced": is_fenced(p)} for p in pools]
    open_pools = [str(row["pool"]) for row in rows if row["offers_gpus"] and not row["fenced"]]
    if open_pools:
        summary = f"{', '.join(open_pools)}: GPU nodes without the taint {GPU}:NoSchedule. Add it."
        return failed("gpu_pool_fenced", summary, pools=rows)
    return judge("gpu_pool_fenced", True, f"Every pool with GPUs carries the taint {GPU}:NoSchedule.", pools=rows)


def judge_selectors(pools: Sequence[Object], deployments: Sequence[Object]) -> Verdict:
    """Is there a pool for every pod that we render: labels, taints, an instance large enough?"""
    rows = [_hosts(deployment, pools) for deployment in deployments]
    homeless = [f"{row['deployment']} ({row['kept_off']})" for row in rows if not row["pools"]]
    summary = (
        f"No pool can host {', '.join(homeless)}. Compare serving.gpu and serving.resources with the pools."
        if homeless
        else f"Each of {len(rows)} deployments fits a pool."
    )
    return judge("selectors_match", not homeless, summary, deployments=rows)


def _hosts(deployment: Object, pools: Sequence[Object]) -> dict[str, str]:
    pod = deployment["spec"]["template"]["spec"]
    reasons = {_name(pool): why_not_in(pod, pool) for pool in pools}
    return {
        "deployment": _name(deployment),
        "pools": ", ".join(name for name, why in reasons.items() if not why),
        "kept_off": "; ".join(f"{name}: {why}" for name, why in reasons.items() if why),
    }


def _not_ready(pool: Object) -> str:
    """The message of the condition that keeps a pool from being used; empty while it is Ready, or nobody says."""
    conditions = (pool.get("status") or {}).get("conditions") or []
    if all(c["status"] == "True" for c in conditions if c["type"] == "Ready"):
        return ""
    said = [f"{c['type']} {c['status']}: {c.get('message') or c.get('reason')}" for c in conditions if _speaks(c)]
    return "; ".join(said) or "not Ready"


def _speaks(condition: Object) -> bool:
    return condition["type"] != "Ready" and condition["status"] != "True"


def _name(obj: Object) -> str:
    return obj["metadata"]["name"]
