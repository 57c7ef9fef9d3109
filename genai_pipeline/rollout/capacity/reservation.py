"""Judges whether a capacity reservation holds what a release needs, and for long enough. Pure.

Source: EC2 documentation, "Capacity Reservations" and "Capacity Blocks for ML": the instances of a block are ended
30 minutes before the time that was bought.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from genai_pipeline.core.model_spec import Gpu, ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, judge, passed
from genai_pipeline.gateways.aws.abc import Reservation
from genai_pipeline.rollout.pools.instance_types import InstanceTypes

CHECK = "reservation_active"
BLOCK_ENDS_EARLY = timedelta(minutes=30)
SERVES_AT_LEAST = timedelta(hours=1)
"""A reservation that ends sooner after the start of the release is about to expire: it would hardly be used."""
LONGEST_WATCH = timedelta(hours=24)
"""Of a longer watch only so much counts: a block is bought by the day, and is of use until it ends."""


def time_of_rollout(spec: ModelSpec) -> timedelta:
    """Return until when, apart from SERVES_AT_LEAST, a rollout that starts now needs its instances: through its watch.

    A release whose instances end while it is watched would be rolled back, to a last good one that they may serve too.
    """
    watch = min(timedelta(minutes=spec.rollout.watch_minutes), LONGEST_WATCH)
    return timedelta(seconds=spec.serving.startup_deadline_s) + max(timedelta(0), watch - SERVES_AT_LEAST / 2)


@dataclass(frozen=True)
class ReservedRoom:
    """What the reservations of a model hold.

    Args:
        free_replicas: replicas that have room in the usable reservations now.
        all_replicas: replicas that have room in all of their instances.
        rows: each reservation, and why it cannot be used.
    """

    free_replicas: int
    all_replicas: int
    rows: Sequence[dict[str, Any]]


def reserved_room(
    gpu: Gpu, found: Sequence[Reservation], now: datetime, startup: timedelta, known: InstanceTypes
) -> ReservedRoom:
    """Return how many replicas the usable reservations can take. `startup`: `time_of_rollout`, or how far to look."""
    why = {r.id: _why_unusable(gpu, r, now, startup, known) for r in found}
    usable = [r for r in found if not why[r.id]]
    rows = [_row(r, why[r.id]) for r in found]
    free = sum(r.available * _replicas_per_instance(gpu, r, known) for r in usable)
    return ReservedRoom(free, sum(r.total * _replicas_per_instance(gpu, r, known) for r in usable), rows)


def judge_reservation(spec: ModelSpec, room: ReservedRoom | None, why_unread: str, needed: int) -> Verdict:
    """Return the verdict reservation_active.

    Args:
        room: None where reservations could not be read; `why_unread` then says why.
        needed: replicas that have to fit into the reservations.
    """
    gpu = spec.serving.gpu
    if gpu is None:
        return passed(CHECK, "No GPU: no capacity reservation applies.")
    if gpu.reservation == "none":
        return passed(CHECK, "The model file asks for no capacity reservation.")
    if room is None:
        return _unread(gpu, why_unread)
    said = "; ".join(f"{row['reservation']}: {row['why_not'] or row['free']}" for row in room.rows)
    holds = (
        f"{room.free_replicas} of {needed} replicas have room in a capacity reservation ({said or 'none is selected'})."
    )
    enough = room.free_replicas >= needed and room.all_replicas > 0
    if gpu.reservation == "optional" and not enough:
        return passed(CHECK, f"{holds} It is optional: the rest comes on demand.", reservations=room.rows)
    remedy = "" if enough else " Reserve more, correct serving.gpu.reservation-terms, or make the reservation optional."
    return judge(CHECK, enough, holds + remedy, reservations=room.rows)


def _unread(gpu: Gpu, why: str) -> Verdict:
    if gpu.reservation == "optional":
        return passed(CHECK, f"A reservation is optional and was not read ({why}): capacity comes on demand.")
    return inconclusive(CHECK, f"serving.gpu.reservation is required, and reservations were not read: {why}")


def usable_until(reservation: Reservation) -> datetime | None:
    """Return when EC2 ends the instances of a reservation; None: not before it is cancelled."""
    if reservation.ends_at is None or reservation.kind != "capacity-block":
        return reservation.ends_at
    return reservation.ends_at - BLOCK_ENDS_EARLY


def _why_unusable(gpu: Gpu, reservation: Reservation, now: datetime, startup: timedelta, known: InstanceTypes) -> str:
    if reservation.state != "active":
        return f"it is {reservation.state}"
    if not reservation.instance_type.startswith(f"{gpu.instance_family}."):
        return f"it reserves {reservation.instance_type}, not {gpu.instance_family}"
    if not _replicas_per_instance(gpu, reservation, known):
        return f"a {reservation.instance_type} has fewer than {gpu.count} GPUs"
    until = usable_until(reservation)
    if until is not None and until < now + startup + SERVES_AT_LEAST:
        early = ", 30 minutes before its block" if reservation.kind == "capacity-block" else ""
        return f"it is about to expire: its instances end at {until:%Y-%m-%d %H:%M} UTC{early}"
    return ""


def _replicas_per_instance(gpu: Gpu, reservation: Reservation, known: InstanceTypes) -> int:
    """Return 1 where the type's GPUs are not known."""
    one = known.named(reservation.instance_type)
    return one.gpus // gpu.count if one else 1


def _row(reservation: Reservation, why: str) -> dict[str, Any]:
    until = usable_until(reservation)
    return {
        "reservation": reservation.id,
        "type": reservation.instance_type,
        "zone": reservation.zone,
        "kind": reservation.kind,
        "state": reservation.state,
        "free": f"{reservation.available} of {reservation.total} instances free",
        "usable_until": f"{until:%Y-%m-%d %H:%M} UTC" if until else "cancelled",
        "why_not": why,
    }
