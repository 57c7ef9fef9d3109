"""What to do about a model now: its desired release against what is. Pure; the sensor acts on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY, Live, Phase, Record
from genai_pipeline.core.release import Release

BACK_OFF_S = 10


class Step(StrEnum):
    NOTHING = "nothing"
    START = "start"
    REOPEN = "reopen"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Plan:
    """One step and the reason for it, worded for the tick's log."""

    step: Step
    why: str


def plan_rollout(
    spec: ModelSpec, desired: Release, record: Record | None, live: Live | None, busy: bool, now: str
) -> Plan:
    """Decide about `desired`, the release that the source and the model file ask for.

    Args:
        record: its record, or None for a release never seen.
        busy: whether a run of this model is queued or under way.
        now: ISO 8601 UTC.
    """
    if spec.rollout.paused:
        return Plan(Step.NOTHING, "rollout.paused is true")
    if busy:
        return Plan(Step.NOTHING, "a rollout of this model is under way")
    if live and live.release == desired.id:
        return Plan(Step.NOTHING, f"{desired.id} is live")
    if record is None:
        return Plan(Step.START, f"{desired.id} is new")
    if record.phase in ENDED_BADLY:
        return Plan(Step.NOTHING, f"{desired.id} was {record.phase}: {record.reason}")
    if record.phase in (Phase.REPLACED, Phase.LIVE):
        return Plan(Step.REOPEN, f"{desired.id} was live before and is asked for again")
    if record.attempts >= spec.rollout.max_attempts:
        return Plan(Step.GIVE_UP, f"{record.attempts} attempts ended without a verdict")
    again_at = _again_at(record)
    if again_at > datetime.fromisoformat(now):
        return Plan(
            Step.NOTHING, f"attempt {record.attempts} ended without a verdict; the next one is due at {again_at}"
        )
    return Plan(Step.START, f"attempt {record.attempts + 1} of {spec.rollout.max_attempts}")


def _again_at(record: Record) -> datetime:
    """When the next attempt is due: 10 s after the last event, then 40 s, 160 s and so on."""
    last = datetime.fromisoformat(record.history[-1].at)
    return last + timedelta(seconds=BACK_OFF_S * 4 ** max(record.attempts - 1, 0) if record.attempts else 0)
