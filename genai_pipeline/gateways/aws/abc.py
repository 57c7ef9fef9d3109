"""What only EC2 knows about capacity: reservations, the account's quotas, instance types and prices."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from genai_pipeline.core.model_spec import ReservationTerm


@dataclass(frozen=True)
class Reservation:
    """One EC2 capacity reservation.

    Args:
        state: as EC2 writes it: active, scheduled, pending, expired, cancelled, …
        available: free instances, of `total`.
        ends_at: None: until it is cancelled. For a Capacity Block the end of the time that was bought; EC2 ends its
            instances 30 minutes earlier.
    """

    id: str
    instance_type: str
    zone: str
    state: str
    total: int
    available: int
    kind: Literal["default", "capacity-block"] = "default"
    ends_at: datetime | None = None


@dataclass(frozen=True)
class VcpuQuota:
    """How many vCPUs of a group of instance families may run on demand in the region (`limit`), and how many do.

    Capacity Blocks and Spot have other quotas. Idle reserved instances also count against it, and are not in `used`.
    """

    name: str
    limit: float
    used: float


@dataclass(frozen=True)
class InstanceType:
    """One EC2 instance type.

    Args:
        name: as in `g6e.xlarge`.
        gpus: how many NVIDIA or AMD GPUs.
        gpu: the GPU's name as in the label eks.amazonaws.com/instance-gpu-name, or an empty text without a GPU.
        architecture: "amd64" or "arm64", as in the label kubernetes.io/arch.
        usd_per_hour: on-demand price (Linux, shared tenancy) in one region, or None where it is not known.
    """

    name: str
    vcpus: int
    memory_gib: float
    gpus: int
    gpu: str
    architecture: str
    usd_per_hour: float | None = None

    @property
    def family(self) -> str:
        return self.name.partition(".")[0]


class Aws(ABC):
    """Reads only. Every method raises Unavailable when AWS does not answer, Refused when it denies access."""

    @abstractmethod
    def reservations(self, terms: Sequence[ReservationTerm]) -> list[Reservation]:
        """Return the capacity reservations that any of the terms selects, ended ones included, ordered by id."""

    @abstractmethod
    def vcpu_quota(self, family: str) -> VcpuQuota | None:
        """Return the on-demand quota of this family's instances, or None for a family without a known quota."""

    @abstractmethod
    def instance_types(self) -> list[InstanceType]:
        """Return the virtual instance types of the region, with today's on-demand prices."""


def category_of(instance_type: str) -> str:
    """Return the letters before the generation: `g` of `g6e.xlarge`, or of the family `g6e`."""
    return (re.match(r"[a-z]*", instance_type) or [""])[0]
