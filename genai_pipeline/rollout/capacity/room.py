"""Compares what a candidate needs with what is free: in the cluster as a whole, in quotas, in EC2. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.gpu_nodes import NVIDIA_GPU
from genai_pipeline.gateways.aws.abc import VcpuQuota
from genai_pipeline.gateways.cluster.abc import Headroom
from genai_pipeline.gateways.cluster.free_resources import quota_left
from genai_pipeline.gateways.cluster.pods import GIB, Object, has_pods, pod_groups, requests_of

GPUS_OF_ONE_MACHINE = "gpu"
"""The sum of its GPUs. A cluster with nodes has no such sum, since a GPU is of use on its own node only."""


@dataclass(frozen=True)
class Room:
    """One resource that a candidate needs, and how much of it is free by one source.

    Args:
        free: None where no limit is known.
        free_without_live: what is free once the live release has stopped.
    """

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
    """Pods of one template: the spec of one, and how many there may be."""

    spec: Object
    replicas: int

    @classmethod
    def all_of(cls, objects: Sequence[Object]) -> list[Workload]:
        """Return the pods of what is rendered, those that serve first."""
        groups = [group for o in objects if has_pods(o) for group in pod_groups(o)]
        return [cls(group.template["spec"], group.replicas) for group in groups]

    @property
    def total(self) -> dict[str, float]:
        return {name: amount * self.replicas for name, amount in requests_of(self.spec).items()}


def headroom_rooms(headroom: Headroom, needed: Mapping[str, float], live: Mapping[str, float]) -> list[Room]:
    """Return what the whole cluster has free, beside what is needed and what the live release would give back."""
    doors = (
        ("memory", "memory_gib", headroom.memory_gib, GIB),
        ("cpu", "cpu", headroom.cpu, 1),
        (NVIDIA_GPU, GPUS_OF_ONE_MACHINE, headroom.gpus, 1),
    )
    return [
        Room(name, round(needed[key] / unit, 3), free, _after(free, live.get(key, 0) / unit), headroom.source)
        for key, name, free, unit in doors
        if key in needed
    ]


def quota_rooms(quotas: Sequence[Object], needed: Mapping[str, float], live: Mapping[str, float]) -> Iterator[Room]:
    """Yield what the namespace's ResourceQuotas leave. `needed` and `live` by resource, `pods` among them."""
    for quota in quotas:
        for key, resource, free in quota_left(quota):
            if resource in needed:
                source = f"ResourceQuota {quota['metadata']['name']}: {key}"
                yield Room(resource, needed[resource], free, free + live.get(resource, 0), source)


def ec2_room(quota: VcpuQuota, vcpus: float, freed: float) -> Room:
    """Return what the account may still start on demand, in vCPUs."""
    free = quota.limit - quota.used
    return Room("vcpus", vcpus, free, free + freed, f"EC2 quota {quota.name}: {quota.used:g} of {quota.limit:g} in use")


def _after(free: float | None, freed: float) -> float | None:
    return None if free is None else round(free + freed, 3)
