"""Room for a candidate at the doors that count resources: the cluster as a whole, quotas, EC2. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.gateways.aws.abc import VcpuQuota
from genai_pipeline.gateways.cluster.abc import Headroom
from genai_pipeline.rollout.pools.matching import GPU
from genai_pipeline.rollout.pools.quantity import GIB, quantity, requested

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Room:
    """What one door lets through. `free_without_live`: once the live release has stopped. None: no limit known."""

    resource: str
    needed: float
    free: float | None
    free_without_live: float | None
    source: str

    @property
    def fits(self) -> bool:
        return self.free is None or self.needed <= self.free

    @property
    def fits_without_live(self) -> bool:
        return self.free_without_live is None or self.needed <= self.free_without_live

    @property
    def row(self) -> dict[str, Any]:
        return {
            "resource": self.resource,
            "needed": self.needed,
            "free": self.free,
            "free_without_live": self.free_without_live,
            "source": self.source,
        }


@dataclass(frozen=True)
class Workload:
    """Pods of one sort: `spec` is the pod's, `replicas` how many of them."""

    spec: Object
    replicas: int

    @classmethod
    def of(cls, deployment: Object) -> Workload:
        return cls(deployment["spec"]["template"]["spec"], deployment["spec"].get("replicas", 1))

    @property
    def total(self) -> dict[str, float]:
        return {name: amount * self.replicas for name, amount in requested(self.spec).items()}


def requests_of(pods: Sequence[Object]) -> dict[str, float]:
    """What running pods request together, and how many they are."""
    total: dict[str, float] = {"pods": float(len(pods))}
    for pod in pods:
        for name, amount in requested(pod["spec"]).items():
            total[name] = total.get(name, 0.0) + amount
    return total


def headroom_rooms(headroom: Headroom, needed: Mapping[str, float], live: Mapping[str, float]) -> list[Room]:
    """What the cluster as a whole says is free, against what is needed and what the live release would give back."""
    doors = (
        ("memory", "memory_gib", headroom.memory_gib, GIB),
        ("cpu", "cpu", headroom.cpu, 1),
        (GPU, "gpu", headroom.gpus, 1),
    )
    return [
        Room(name, round(needed[key] / unit, 3), free, _after(free, live.get(key, 0) / unit), headroom.source)
        for key, name, free, unit in doors
        if key in needed
    ]


def quota_rooms(quotas: Sequence[Object], needed: Mapping[str, float], live: Mapping[str, float]) -> Iterator[Room]:
    """What the namespace's ResourceQuotas leave. `needed` and `live` by resource; `pods` among them.

    A quota with scopes is left out: whether it counts a pod depends on more than its requests.
    Source: Kubernetes documentation, "Resource Quotas".
    """
    for quota in quotas:
        if quota.get("spec", {}).get("scopes") or quota.get("spec", {}).get("scopeSelector"):
            continue
        status = quota.get("status") or {}
        for key, hard in (status.get("hard") or {}).items():
            resource = key.removeprefix("requests.")
            if resource in needed:
                free = quantity(hard) - quantity((status.get("used") or {}).get(key, 0))
                after = free + live.get(resource, 0)
                source = f"ResourceQuota {quota['metadata']['name']}: {key}"
                yield Room(resource, needed[resource], free, after, source)


def ec2_room(quota: VcpuQuota, vcpus: float, freed: float) -> Room:
    """What the account may still start on demand, in vCPUs."""
    free = quota.limit - quota.used
    return Room("vcpus", vcpus, free, free + freed, f"EC2 quota {quota.name}: {quota.used:g} of {quota.limit:g} in use")


def _after(free: float | None, freed: float) -> float | None:
    return None if free is None else round(free + freed, 3)
