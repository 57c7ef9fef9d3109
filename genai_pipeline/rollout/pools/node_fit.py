"""Which instance types of a node pool could run a pod: by its taints, its requirements and the pod's size. Pure.

It answers what a dry run and a probe cannot: how much room there is, and what a node would cost. Whether a node really
comes is Karpenter's decision, which `node_probe.py` asks for.

Source: Karpenter documentation, "Scheduling"; Kubernetes documentation, "Assigning Pods to Nodes: operators".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.gpu_nodes import NVIDIA_GPU
from genai_pipeline.gateways.aws.abc import InstanceType
from genai_pipeline.gateways.cluster.pods import GIB, Object, is_of_device, requests_of
from genai_pipeline.rollout.pools.instance_types import InstanceTypes
from genai_pipeline.rollout.pools.node_labels import (
    ANY_INSTANCE,
    GPU_COUNT,
    INSTANCE_LABELS,
    NODE_LABELS,
    NODE_POOL,
    Labels,
    instances,
    is_the_providers,
    manufacturer_of,
)

OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})


@dataclass(frozen=True)
class Requirement:
    """A label, an operator and its values, as in a NodePool or in a pod's node affinity."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> Requirement:
        return cls(written["key"], written.get("operator", "In"), tuple(map(str, written.get("values") or ())))

    def allows(self, value: str | None) -> bool:
        """Return whether a node with this value of the label passes; None: the node does not carry the label."""
        if value is None:
            return self.operator in ("NotIn", "DoesNotExist")
        match self.operator:
            case "In":
                return value in self.values
            case "NotIn":
                return value not in self.values
            case "Gt" | "Lt":
                return self._compares(value)
            case _:
                return self.operator == "Exists"

    def _compares(self, value: str) -> bool:
        if not (value.isdigit() and len(self.values) == 1 and self.values[0].isdigit()):
            return False
        return int(value) > int(self.values[0]) if self.operator == "Gt" else int(value) < int(self.values[0])

    def __str__(self) -> str:
        if self.operator in ("Exists", "DoesNotExist"):
            return f"{self.key} {self.operator}"
        shown = ", ".join(self.values)
        return f"{self.key} {self.operator} " + (shown if self.operator in ("Gt", "Lt") else f"[{shown}]")


def why_not_in(pod: Object, pool: Object, known: InstanceTypes) -> str:
    """Return why a pod of this spec cannot run in the pool, or an empty text where it can."""
    kept_off_by = next((t for t in taints(pool) if not tolerates_all(pod, [t])), None)
    if kept_off_by:
        return f"the pod does not tolerate taint {kept_off_by['key']}:{kept_off_by['effect']}"
    if not any(True for _ in _fitting(pod, pool, known)):
        return "no instance of the pool has what the pod selects and requests"
    return ""


def types_for(pod: Object, pool: Object, known: InstanceTypes) -> list[InstanceType]:
    """Return the instance types with known sizes that the pool may start and the pod fits on, cheapest first."""
    return [one for one in _fitting(pod, pool, known) if one]


def some_instance_passes(requirements: Sequence[Requirement], known: InstanceTypes) -> bool:
    """Return whether Auto Mode has an instance that meets all of these requirements on instance labels."""
    return any(_passes(requirements, labels) for labels, _ in instances(known))


def offers_gpus(pool: Object, known: InstanceTypes) -> bool:
    """Return whether some instance that the pool may start has a GPU."""
    return some_instance_passes([*offered(pool), Requirement(GPU_COUNT, "Exists")], known)


def tolerates_all(pod: Object, kept: Sequence[Object]) -> bool:
    """Return whether the pod tolerates each of these taints. PreferNoSchedule keeps no pod off."""
    hard = [t for t in kept if t["effect"] != "PreferNoSchedule"]
    return all(any(_tolerates(one, t) for one in pod.get("tolerations") or []) for t in hard)


def taints(pool: Object) -> list[Object]:
    return pool["spec"]["template"]["spec"].get("taints", [])


def is_fenced(pool: Object) -> bool:
    """Return whether a taint keeps pods off that do not ask for a GPU."""
    return any(t["key"] == NVIDIA_GPU and t["effect"] in ("NoSchedule", "NoExecute") for t in taints(pool))


def offered(pool: Object) -> list[Requirement]:
    """Return what a pool requires of its nodes, with the labels that it gives them."""
    template = pool["spec"]["template"]
    labels = template.get("metadata", {}).get("labels", {}) | {NODE_POOL: pool["metadata"]["name"]}
    labelled = [Requirement(key, "In", (str(value),)) for key, value in labels.items()]
    return [*(Requirement.of(r) for r in template["spec"].get("requirements", [])), *labelled]


def pod_terms(pod: Object) -> list[list[Requirement]]:
    """Return what a pod requires of its node: alternatives, each a list of requirements that hold together."""
    selected = [Requirement(key, "In", (str(value),)) for key, value in (pod.get("nodeSelector") or {}).items()]
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [
        [Requirement.of(r) for r in t.get("matchExpressions") or []] for t in required.get("nodeSelectorTerms", [])
    ]
    return [[*selected, *term] for term in terms] or [selected]


def _fitting(pod: Object, pool: Object, known: InstanceTypes) -> Iterator[InstanceType | None]:
    """Yield the types on which the pod fits, or None for a family without known sizes."""
    of_pool, asked = offered(pool), requests_of(pod)
    terms = [term for term in pod_terms(pod) if _offers(of_pool, term, known)]
    for labels, one in instances(known):
        if any(_passes([*of_pool, *term], labels) for term in terms) and _is_large_enough(one, labels, asked):
            yield one


def _offers(of_pool: Sequence[Requirement], term: Sequence[Requirement], known: InstanceTypes) -> bool:
    """Return whether the pool's nodes can carry the labels of the term that no known instance type decides."""
    for wanted in term:
        if known.families and wanted.key in INSTANCE_LABELS:
            continue
        same = [r for r in of_pool if r.key == wanted.key]
        listed = [r for r in same if r.operator == "In"]
        given = wanted.key in NODE_LABELS if known.families else is_the_providers(wanted.key)
        if not same and not given and not wanted.allows(None):
            return False
        if listed and not any(all(r.allows(v) for r in [wanted, *same]) for v in listed[0].values):
            return False
    return True


def _passes(requirements: Sequence[Requirement], labels: Mapping[str, str | None]) -> bool:
    return all(r.key not in labels or r.allows(labels[r.key]) for r in requirements)


def _is_large_enough(one: InstanceType | None, labels: Labels, asked: Mapping[str, float]) -> bool:
    """Return whether the pod fits on an empty node. A node has to be larger: the kubelet keeps a part of it."""
    of_devices = {name: amount for name, amount in asked.items() if is_of_device(name)}
    if one is None:
        return labels == ANY_INSTANCE or not of_devices
    memory_gib = asked.get("memory", 0) / GIB
    has = {NVIDIA_GPU: one.gpus if manufacturer_of(one) == "nvidia" else 0}  # Auto Mode's nodes offer no other resource
    enough = all(has.get(name, 0) >= amount for name, amount in of_devices.items())
    return one.vcpus > asked.get("cpu", 0) and one.memory_gib > memory_gib and enough


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, taint["key"])
    return toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", "")
