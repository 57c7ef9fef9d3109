"""What Kubernetes does not tell us about node pools, checked before anything waits for a node. Pure.

A NodePool with a misspelt label stays Ready, and a pod that no pool can host is Pending for ever.
Source: Karpenter documentation, "NodePools"; EKS documentation, "Auto Mode: supported labels".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.verdict import Verdict, judge
from genai_pipeline.gateways.cluster.abc import Applied, Difference

GPU_TAINT = "nvidia.com/gpu"
GPU_FAMILIES = ("g", "p")
FAMILY = "eks.amazonaws.com/instance-family"
CATEGORY = "eks.amazonaws.com/instance-category"

Object = Mapping[str, Any]


def judge_accepted(applied: Sequence[Applied], left: Sequence[Difference]) -> Verdict:
    """Did the API take every pool as we wrote it? `left` is what a dry run would still change."""
    rows = [{"kind": a.kind, "name": a.name, "action": a.action, "enforced": a.enforced} for a in applied]
    changed = [f"{d.kind} {d.name}: {d.field}" for d in left]
    enforced = all(a.enforced for a in applied)
    summary = f"{len(applied)} objects applied" + (
        "." if enforced else "; this cluster keeps but does not enforce them."
    )
    if changed:
        summary = f"The API changed or dropped what we wrote: {', '.join(changed)}."
    warnings = [w for a in applied for w in a.warnings]
    return judge("accepted", not changed, summary, objects=rows, warnings=warnings)


def judge_gpu_fence(pools: Sequence[Object]) -> Verdict:
    """Can a pod without the toleration land on a GPU node?"""
    rows = [{"pool": _name(p), "offers_gpus": _offers_gpus(p), "fenced": _is_fenced(p)} for p in pools]
    open_pools = [row["pool"] for row in rows if row["offers_gpus"] and not row["fenced"]]
    summary = (
        f"{', '.join(map(str, open_pools))}: GPU nodes without the taint {GPU_TAINT}:NoSchedule. Add it."
        if open_pools
        else f"Every pool with GPUs carries the taint {GPU_TAINT}:NoSchedule."
    )
    return judge("gpu_pool_fenced", not open_pools, summary, pools=rows)


def judge_selectors(pools: Sequence[Object], deployments: Sequence[Object]) -> Verdict:
    """Is there a pool for every pod that we render: labels it selects, taints it tolerates?"""
    rows = [{"deployment": _name(d), "pools": ", ".join(_pools_for(d, pools)) or "none"} for d in deployments]
    homeless = [str(row["deployment"]) for row in rows if row["pools"] == "none"]
    summary = (
        f"No pool can host {', '.join(homeless)}: check serving.gpu.instance-family against the pools' requirements."
        if homeless
        else f"Each of {len(rows)} deployments fits a pool."
    )
    return judge("selectors_match", not homeless, summary, deployments=rows)


def _pools_for(deployment: Object, pools: Sequence[Object]) -> list[str]:
    pod = deployment["spec"]["template"]["spec"]
    return [_name(p) for p in pools if _tolerated(pod, p) and _selected(pod.get("nodeSelector", {}), p)]


def _tolerated(pod: Object, pool: Object) -> bool:
    tolerations = pod.get("tolerations", [])
    return all(any(_tolerates(t, taint) for t in tolerations) for taint in _taints(pool))


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")


def _selected(selector: Mapping[str, str], pool: Object) -> bool:
    offered = {r["key"]: r.get("values", []) for r in _requirements(pool)}
    labels = pool["spec"]["template"].get("metadata", {}).get("labels", {})
    offered |= {key: [value] for key, value in labels.items()}
    offered["karpenter.sh/nodepool"] = [_name(pool)]
    return all(value in offered.get(key, []) for key, value in selector.items())


def _offers_gpus(pool: Object) -> bool:
    families = [v for r in _requirements(pool) if r["key"] in (FAMILY, CATEGORY) for v in r.get("values", [])]
    return any(v[:1] in GPU_FAMILIES for v in families)


def _is_fenced(pool: Object) -> bool:
    return any(t["key"] == GPU_TAINT and t["effect"] == "NoSchedule" for t in _taints(pool))


def _taints(pool: Object) -> list[Object]:
    return pool["spec"]["template"]["spec"].get("taints", [])


def _requirements(pool: Object) -> list[Object]:
    return pool["spec"]["template"]["spec"].get("requirements", [])


def _name(obj: Object) -> str:
    return obj["metadata"]["name"]
