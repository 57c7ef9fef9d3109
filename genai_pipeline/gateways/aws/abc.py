"""What EC2 knows about capacity and no cluster does: reservations, and the account's quotas."""

from __future__ import annotations

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
        state: EC2's word: active, scheduled, pending, expired, cancelled, …
        available: instances that nobody runs in it now, of `total`.
        ends_at: None: until it is cancelled. Of a Capacity Block the time that was bought; EC2 ends its instances
            30 minutes earlier.
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
    """How many vCPUs of a group of instance families may run on demand in the region, and how many do.

    Capacity Blocks and Spot have quotas of their own. What is reserved and idle counts as well, and is not in `used`.
    """

    name: str
    limit: float
    used: float


class Aws(ABC):
    """Read-only. Every method raises Unavailable when AWS does not answer, Refused when it denies access."""

    @abstractmethod
    def reservations(self, terms: Sequence[ReservationTerm]) -> list[Reservation]:
        """The capacity reservations that any of the terms selects, ended ones included, by id."""

    @abstractmethod
    def vcpu_quota(self, family: str) -> VcpuQuota | None:
        """The on-demand quota that instances of this family count against; None for a family we know no quota of."""
