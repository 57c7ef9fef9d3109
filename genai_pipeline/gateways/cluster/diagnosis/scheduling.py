"""Explains why a pod finds no node, from what the scheduler says of nodes and Karpenter of pools. Pure.

The texts are those of kube-scheduler 1.34 and Karpenter 1.8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.did_you_mean import closest
from genai_pipeline.core.gpu_nodes import EKS_FAMILY
from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.known_causes import Cause, known_cause
from genai_pipeline.gateways.cluster.pods import condition, is_of_device, is_ready, quantity, requests_of, shown

_KARPENTER = "Failed to schedule pod, "
_TAINT = re.compile(r"did not tolerate taint \(taint=(?P<taint>[^\s)]+)")
_GPU_TAINT = re.compile(r"[^=:/]+/gpu\b")
"""Form of the taints that keep nodes for pods with a GPU, as nvidia.com/gpu."""
_LIMIT = re.compile(r"exceed limits for nodepool \(NodePool=(?P<pool>[^\s)]+)\)")
_KEY = re.compile(r"key (?P<key>\S+), (?P<asked>.+?) not in (?P<offered>[^;]+)")
_LABEL = re.compile(r'label "(?P<key>[^"]+)" does not have known values(?: \(typo of "(?P<meant>[^"]+)"\?\))?')
_OFFERING = re.compile(r"no instance type has the required offering|had enough resources, had a req|not be reserved")
_UNMET = re.compile(r"no instance type met (?:all|the scheduling) requirements")
_POOL = "karpenter.sh/nodepool"
_FREES = "No preemption victims"
"""The scheduler says this of a node that would fit if other pods left it."""


def scheduling_cause(
    pod: Mapping[str, Any], events: Sequence[ClusterEvent], pools: Sequence[Mapping[str, Any]] | None = None
) -> Cause | None:
    """Return why the pod has no node, or None where it has a node, or where Karpenter starts one for it.

    Args:
        events: of this pod, newest last.
        pools: the cluster's NodePools, or None where they cannot be read.
    """
    said = _scheduler_message(pod)
    if not said or (pod.get("spec") or {}).get("nodeName"):
        return None
    tried = [e for e in events if e.reason == "Nominated" or e.message.startswith(_KARPENTER)]
    if tried and tried[-1].reason == "Nominated":
        return None
    refused = tried[-1].message.removeprefix(_KARPENTER) if tried else ""
    cause = _volume(said) or (_of_pools(refused, pod, pools) if refused else None) or _of_nodes(said, pod, pools)
    # A pool that is not ready may still host the pod, if it offers what the pod asks for.
    settling = any(not is_ready(pool) and _may_take(pool, pod, refused) for pool in pools or ())
    if _FREES in said or settling:
        return Cause(cause.what, cause.remedy)
    return cause


def _scheduler_message(pod: Mapping[str, Any]) -> str:
    refused = condition(pod, "PodScheduled", "False")
    return refused.get("message") or refused.get("reason") or "not scheduled" if refused else ""


def _of_pools(refused: str, pod: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] | None) -> Cause | None:
    """Return the cause that Karpenter names, of the pool that is meant for such a pod first."""
    taint = _untolerated(refused, pod)
    if _GPU_TAINT.match(taint) and _devices_of(pod):
        return _taint(taint, pod, pools)
    return (
        _limit(refused, pod, pools)
        or _requirement(refused, pod, pools)
        or _capacity(refused, pod, pools)
        or (_taint(taint, pod, pools) if taint else None)
    )


def _devices_of(pod: Mapping[str, Any]) -> set[str]:
    """Return the resources of device plugins that the pod requests, as nvidia.com/gpu."""
    return {name for name, amount in requests_of(pod["spec"]).items() if amount and is_of_device(name)}


def _untolerated(refused: str, pod: Mapping[str, Any]) -> str:
    """Return the taint that keeps the pod off. The taint of GPU nodes only matters to a pod that requests a GPU."""
    found = [m["taint"] for m in _TAINT.finditer(refused)]
    wants_gpu = bool(_devices_of(pod))
    meant = [(bool(_GPU_TAINT.match(t)) == wants_gpu, not t.startswith("CriticalAddons"), t) for t in found]
    return max(meant, key=lambda one: one[:2])[2] if meant else ""


def _taint(taint: str, pod: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] | None) -> Cause:
    key = re.split(r"[=:]", taint)[0]
    having = [p["metadata"]["name"] for p in pools or () if key in (t["key"] for t in _template(p).get("taints") or ())]
    where = f" of node pool {', '.join(having)}" if having else ""
    field = "serving.gpu.tolerations" if _devices_of(pod) else "serving.gpu"
    return Cause(
        f"The pod does not tolerate the taint {taint}{where}",
        f"Set `{field}` in the model file, or add a toleration for {key} to the pod.",
        final=True,
    )


def _limit(refused: str, pod: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] | None) -> Cause | None:
    """Return the limit of a pool as the cause. It is final for a pod that is larger than the limit itself.

    Karpenter checks the limit first. So a full pool also refuses pods that it would not take when empty.
    """
    full = [m["pool"].lstrip("/") for m in _LIMIT.finditer(refused)]
    known = {p["metadata"]["name"]: p for p in pools or ()}
    meant = [name for name in full if name not in known or _may_take(known[name], pod, refused)]
    if not meant:
        return None
    name, pool = meant[0], known.get(meant[0], {})
    asked, limits = requests_of(pod["spec"]), (pool.get("spec") or {}).get("limits") or {}
    used = (pool.get("status") or {}).get("resources") or {}
    parts = [f"{k}: {v}, {used.get(k, 0)} in use, {shown(asked.get(k, 0.0))} asked" for k, v in sorted(limits.items())]
    never = any(asked.get(key, 0.0) > quantity(value) for key, value in limits.items())
    return Cause(
        f"The limit of node pool {name} is reached" + (f" ({'; '.join(parts)})" if parts else ""),
        f"Raise `spec.limits` of node pool {name}, end what runs there, or let the rollout recreate"
        " (`rollout.allow_downtime: true`).",
        final=never,
    )


def _may_take(pool: Mapping[str, Any], pod: Mapping[str, Any], refused: str) -> bool:
    """Return whether the pool could host this pod if it were empty. True where that is not known."""
    spec = pod.get("spec") or {}
    tolerated = {t.get("key") for t in spec.get("tolerations") or []}
    if not tolerated >= {t["key"] for t in _template(pool).get("taints") or []} and None not in tolerated:
        return False
    offered = {
        r["key"]: r.get("values") or [] for r in _template(pool).get("requirements") or [] if r["operator"] == "In"
    }
    offered |= {_POOL: [pool["metadata"]["name"]]} | {key: [value] for key, value in _labels(pool).items()}
    unknown = {m["key"] for m in _LABEL.finditer(refused)} - _named(pool)
    wanted = spec.get("nodeSelector") or {}
    return all(key not in unknown and value in offered.get(key, [value]) for key, value in wanted.items())


def _named(pool: Mapping[str, Any]) -> set[str]:
    """Return the labels that the pool names, in its requirements or as those of its nodes."""
    return {r["key"] for r in _template(pool).get("requirements") or []} | {*_labels(pool)}


def _requirement(refused: str, pod: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] | None) -> Cause | None:
    labels = list(_LABEL.finditer(refused))
    if labels:
        match = next((m for m in labels if m["meant"]), labels[0])
        known = {key for p in pools or () for key in _named(p)}
        meant = match["meant"] or closest(match["key"], known) or ""
        hint = f". Did you mean {meant}?" if meant else ""
        return Cause(
            f"No node pool offers the label {match['key']} that the pod requires{hint}",
            f"{_correct(match['key'], pod)}, or the requirements and labels of the node pool.",
            final=True,
        )
    match = _KEY.search(refused)
    if not match:
        return None
    offered = sorted({m["offered"].strip() for m in _KEY.finditer(refused) if m["key"] == match["key"]})
    return Cause(
        f"No node pool offers {match['asked']} that the pod requires (offered: {' · '.join(offered)})",
        f"{_correct(match['key'], pod)}, or the requirements of the node pool.",
        final=True,
    )


def _correct(key: str, pod: Mapping[str, Any]) -> str:
    """Return what to correct where no node has a label that the pod selects."""
    if key == EKS_FAMILY:
        return "Correct `serving.gpu.instance-family` in the model file"
    if _devices_of(pod) and key in ((pod.get("spec") or {}).get("nodeSelector") or {}):
        return "Correct `serving.gpu.selector` in the model file"
    return "Correct the nodeSelector or affinity of the pod"


def _capacity(refused: str, pod: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] | None) -> Cause | None:
    """Return what no instance type has. Karpenter first leaves out the types that would exceed a limit."""
    if "unsatisfiable topology constraint" in refused:
        return Cause("No zone or host is left for the pod's topology", "Loosen topologySpreadConstraints or affinity.")
    if "no instance type" not in refused and "filtered out all available instance types" not in refused:
        return None
    asked = ", ".join(f"{key} {shown(value)}" for key, value in sorted(requests_of(pod["spec"]).items()))
    if _OFFERING.search(refused):
        return Cause(
            f"The cloud has no instance available now for {asked}",
            "Wait, allow more zones, families or capacity types in the node pool, or reserve capacity. A quota that is"
            " used up looks the same: `kubectl get events -A --field-selector reason=InsufficientCapacityError` has"
            " EC2's own words (InsufficientInstanceCapacity, VcpuLimitExceeded, MaxSpotInstanceCountExceeded).",
        )
    said_of = set(re.findall(rf"{_POOL} In \[([^\]]+)\]", refused))
    limited = pools is None or any(p["metadata"]["name"] in said_of and _is_in_use(p) for p in pools)
    wanted = _selected(pod)
    if wanted and "no instance type has enough resources" not in refused and _UNMET.search(refused):
        return Cause(
            f"No node pool offers an instance type with {wanted}",
            "Correct the nodeSelector of the pod, or the requirements of the node pool.",
            final=not limited,
        )
    return Cause(
        f"No instance type of any node pool has enough resources for the pod ({asked}"
        + (f"; {wanted})" if wanted else ")"),
        "Lower `serving.resources` or `serving.gpu.count`, or allow larger instance types and limits in the node pool.",
        final=not limited,
    )


def _selected(pod: Mapping[str, Any]) -> str:
    selector = (pod.get("spec") or {}).get("nodeSelector") or {}
    return ", ".join(f"{key}: {value}" for key, value in sorted(selector.items()))


def _is_in_use(pool: Mapping[str, Any]) -> bool:
    """Return whether pods in the pool use up limits, which then hide larger instance types."""
    used = (pool.get("status") or {}).get("resources") or {}
    return any(quantity(used.get(key, 0)) > 0 for key in (pool.get("spec") or {}).get("limits") or {})


def _of_nodes(said: str, pod: Mapping[str, Any], pools: Sequence[Mapping[str, Any]] | None) -> Cause:
    """Return what the scheduler says of the nodes there are. More nodes may come, so it is never final."""
    selector = (pod.get("spec") or {}).get("nodeSelector") or {}
    pool_hint = " There is no node pool that could bring one." if pools is not None and not pools else ""
    if pool_hint and EKS_FAMILY in selector:
        pool_hint = " There is no node pool: materialize platform/node_pools."
    short = re.search(r"Insufficient ([\w./-]+\w)", said)
    if short:
        knob = {"cpu": "serving.resources.cpu", "memory": "serving.resources.memory_gib"}
        knob |= dict.fromkeys(_devices_of(pod), "serving.gpu.count")
        lower = f"Lower `{knob[short[1]]}`" if short[1] in knob else f"Ask for less {short[1]}"
        asked = shown(requests_of(pod["spec"]).get(short[1], 0.0))
        what = f"Every suitable node has insufficient {short[1]} ({asked} asked)"
        return Cause(what, f"{lower}, or add nodes.{pool_hint}")
    if "node affinity/selector" in said and selector:
        key = EKS_FAMILY if EKS_FAMILY in selector else next(iter(selector))
        what = f"No node that the pod could use has the labels that its nodeSelector requires: {_selected(pod)}"
        others = ", or tolerate the taints of the other nodes" if "untolerated taint" in said else ""
        return Cause(what, f"{_correct(key, pod)}, or label a node{others}.{pool_hint}")
    cause = known_cause("scheduler", said)
    if cause:
        return Cause(cause.what, cause.remedy + pool_hint)
    return Cause("No node takes the pod", f"See its FailedScheduling events.{pool_hint}")


def _volume(said: str) -> Cause | None:
    missing = re.search(r'persistentvolumeclaim "([^"]+)" not found', said)
    if missing:
        what = f"The PersistentVolumeClaim {missing[1]} does not exist"
        return Cause(what, "Apply the claim before the Deployment.", final=True)
    if "unbound immediate PersistentVolumeClaims" in said or "persistent volumes to bind" in said:
        return Cause("A PersistentVolumeClaim of the pod is not bound", "Add a volume or a StorageClass that fits it.")
    if "non-existent" in said:
        return Cause("A claim's PersistentVolume does not exist", "Create the claim again.", final=True)
    if "volume's node affinity" in said.lower() or "volume zone" in said:
        return Cause("The pod's volume is in another zone than the nodes", "Use a volume in the node's zone.")
    return None


def _template(pool: Mapping[str, Any]) -> Mapping[str, Any]:
    return ((pool.get("spec") or {}).get("template") or {}).get("spec") or {}


def _labels(pool: Mapping[str, Any]) -> Mapping[str, str]:
    template = (pool.get("spec") or {}).get("template") or {}
    return (template.get("metadata") or {}).get("labels") or {}
