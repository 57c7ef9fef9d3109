"""Where the rollout of a release stands when its capacity is looked at; a rerun may find it half done."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.record import Record
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidate import Candidates


@dataclass(frozen=True)
class Standing:
    """What is already so.

    Args:
        candidate_is_up: its replicas run already (a rerun), so that they need no more room.
        live: id of the release that has the traffic and would make room; None where there is none.
        made_room: an earlier attempt stopped the live release for this one: nobody is served meanwhile.
    """

    candidate_is_up: bool = False
    live: str | None = None
    made_room: bool = False


def standing_of(record: Record, records: Records, candidates: Candidates) -> Standing:
    """Read it from the records and the cluster."""
    pointer = records.live(record.model)
    live = pointer.release if pointer and pointer.release != record.release else None
    before = records.get(record.model, live) if live else None
    stopped = before is not None and not candidates.is_up(before.as_release)
    return Standing(
        candidate_is_up=candidates.is_up(record.as_release),
        live=live,
        made_room=stopped and record.facts.get("strategy") == "recreate",
    )
