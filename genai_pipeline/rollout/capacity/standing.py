"""Reads how far a release is when its capacity is planned. A rerun may find it half done."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.record import Record
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates


@dataclass(frozen=True)
class Standing:
    """How far a release is.

    Args:
        candidate_is_up: its replicas run already, so they need no more room.
        live: id of the release that has the traffic and would make room, or None.
        live_sleeps: the live release may sleep, and need not stop.
        made_room: an earlier attempt has stopped the live release, or let it sleep. Users are not served until the next
            one is live.
    """

    candidate_is_up: bool = False
    live: str | None = None
    live_sleeps: bool = False
    made_room: bool = False


def standing_of(record: Record, records: Records, candidates: Candidates) -> Standing:
    """Return the standing of a release by the records and the cluster."""
    pointer = records.live(record.model)
    live = pointer.release if pointer and pointer.release != record.release else None
    before = records.get(record.model, live) if live else None
    stopped = before is not None and not (
        candidates.is_up(before.as_release) and not candidates.is_asleep(before.as_release)
    )
    return Standing(
        candidate_is_up=candidates.is_up(record.as_release),
        live=live,
        live_sleeps=before is not None and before.as_release.sleeps,
        made_room=stopped and record.facts.strategy == "recreate",
    )
