"""Decide the next step for a model from its desired release and the state of its releases. Pure.

The controller acts on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from genai_pipeline.core.clock import growing_pause_s, iso_utc
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY, ON_ITS_WAY, Live, Phase, Record
from genai_pipeline.core.release import Release

BACK_OFF_S = 10
LONGEST_BACK_OFF_S = 3600
WAY_BACK_S = 1800
"""Seconds in which a rollback has the model to itself. After that a new release may start: it may be the way out."""
PAUSED = "rollout.paused is true"
UNFINISHED = ON_ITS_WAY | {Phase.SUPERSEDED}
"""Phases of the live release that only a dead run or a late tick can leave behind."""


class RolloutStep(StrEnum):
    """What a tick does about one model. `promote` moves the traffic to a proven release, and measures nothing again."""

    NOTHING = "nothing"
    START = "start"
    REOPEN = "reopen"
    PROMOTE = "promote"
    ASK = "ask for approval"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class RolloutPlan:
    """One step, its release, and the reason for it, worded for the log of the tick."""

    step: RolloutStep
    why: str
    release: str = ""


@dataclass(frozen=True)
class Situation:
    """What is known about a model.

    Args:
        spec: the model file of today.
        desired: the release that the source and the model file ask for.
        records: release id -> record; a release that was never seen has no record.
        busy: the run of this model that is queued or under way, or an empty text without one.
        full: why no further rollout may start, or an empty text if one may.
        now: the time, with its zone.
    """

    spec: ModelSpec
    desired: Release
    live: Live | None
    records: Mapping[str, Record] = field(default_factory=dict[str, Record])
    busy: str = ""
    full: str = ""
    now: datetime = datetime.min

    @property
    def record(self) -> Record | None:
        return self.records.get(self.desired.id)

    @property
    def live_record(self) -> Record | None:
        return self.records.get(self.live.release) if self.live else None

    @property
    def superseded(self) -> list[Record]:
        """Return the releases on their way that are no longer asked for; never the live one."""
        if self.spec.rollout.paused:
            return []
        wanted = {self.desired.id, self.live.release if self.live else ""}
        return [r for r in self.records.values() if r.phase in ON_ITS_WAY and r.release not in wanted]


def plan_rollout(of: Situation) -> RolloutPlan:
    """Return the next step for the desired release. Nothing starts while a run of the model is under way."""
    live, wanted = of.live_record, of.desired.id
    if of.busy:
        return RolloutPlan(RolloutStep.NOTHING, f"{of.busy} is under way")
    if of.spec.rollout.paused:
        return RolloutPlan(RolloutStep.NOTHING, PAUSED)
    if live and live.phase in UNFINISHED and live.promotions < of.spec.rollout.max_attempts:
        return _finish(live, of.now)
    if of.live and live and live.phase is Phase.ROLLED_BACK and _since(live, of.now) < WAY_BACK_S:
        return RolloutPlan(RolloutStep.NOTHING, f"the rollback from {live.release} is not finished")
    if of.live and of.live.release == wanted:
        return RolloutPlan(RolloutStep.NOTHING, f"{wanted} is live")
    if of.live and of.live.watched_until and of.live.last_good:
        until = f"{of.live.release} is being watched until {of.live.watched_until}"
        return RolloutPlan(RolloutStep.NOTHING, f"{until}; the next rollout starts then")
    return _plan_desired(of)


def _finish(live: Record, now: datetime) -> RolloutPlan:
    """Return the step for a cut-over whose run ended after it wrote the pointer and before the rest was done."""
    why = f"the cut-over to {live.release} was interrupted"
    return _wait_until(_again_at(live, live.promotions), now, why) or RolloutPlan(
        RolloutStep.PROMOTE, why, live.release
    )


def _plan_desired(of: Situation) -> RolloutPlan:
    """Return the step for a desired release that is not live, when nothing is in its way."""
    record, wanted = of.record, of.desired.id
    if record is None:
        return _when_it_may(of, RolloutPlan(RolloutStep.START, f"{wanted} is new", wanted))
    if record.phase in ENDED_BADLY:
        why = f"{wanted} was {record.phase}: {record.reason}. It is tried again when its revision or serving changes"
        return RolloutPlan(RolloutStep.NOTHING, why)
    if record.phase in (Phase.REPLACED, Phase.LIVE):
        return _when_it_may(
            of, RolloutPlan(RolloutStep.REOPEN, f"{wanted} was live before and is asked for again", wanted)
        )
    if record.phase is Phase.SUPERSEDED:
        # Without a pause, a ref that alternates between two revisions would start and end rollouts for ever.
        again = RolloutPlan(RolloutStep.REOPEN, f"{wanted} was superseded and is asked for again", wanted)
        waiting = _wait_until(_again_at(record, record.attempt), of.now, f"{wanted} was superseded")
        return waiting or _when_it_may(of, again)
    return _promote(of, record) if record.may_go_live else _try(of, record)


def _promote(of: Situation, record: Record) -> RolloutPlan:
    """Return the step for a proven release that does not have the traffic."""
    wanted = record.release
    if wait := why_not_yet(of.spec, record, of.now):
        asked = record.phase is Phase.AWAITING_APPROVAL or not needs_approval(of.spec, record)
        return RolloutPlan(RolloutStep.NOTHING if asked else RolloutStep.ASK, wait, wanted)
    if record.promotions >= of.spec.rollout.max_attempts:
        return _try(of, record)
    why = f"{wanted} is proven" + (f" and approved by {record.approved}" if record.approved else "")
    waiting = _wait_until(_again_at(record, record.promotions), of.now, f"{why}, but its traffic did not move")
    return waiting or RolloutPlan(RolloutStep.PROMOTE, why, wanted)


def what_it_waits_for(spec: ModelSpec, record: Record, now: datetime) -> str:
    """Return what a proven release on its way waits for, or an empty text for any other release."""
    if record.phase not in ON_ITS_WAY or not record.may_go_live:
        return ""
    if spec.rollout.paused:
        return f"{record.release} is proven; {PAUSED}"
    return why_not_yet(spec, record, now) or f"{record.release} is proven; its promotion comes next"


def why_not_yet(spec: ModelSpec, record: Record, now: datetime) -> str:
    """Return why a proven release does not get the traffic yet; empty when it may have it."""
    if needs_approval(spec, record):
        return f"{record.release} is proven and waits for `genai approve {record.model}@{record.release}`"
    closed = why_closed(spec, now)
    return f"{record.release} is proven; {closed}" if closed else ""


def needs_approval(spec: ModelSpec, record: Record) -> bool:
    return spec.rollout.approval == "manual" and not record.approved


def _try(of: Situation, record: Record) -> RolloutPlan:
    allowed = of.spec.rollout.max_attempts
    if record.attempts >= allowed:
        return RolloutPlan(RolloutStep.GIVE_UP, f"{record.attempts} attempts ended without a verdict", record.release)
    due = _again_at(record, record.attempts)
    waiting = _wait_until(due, of.now, f"attempt {record.attempts} ended without a verdict")
    return waiting or _when_it_may(
        of, RolloutPlan(RolloutStep.START, f"attempt {record.attempts + 1} of {allowed}", record.release)
    )


def _when_it_may(of: Situation, start: RolloutPlan) -> RolloutPlan:
    """Return `start`, unless the window is closed or as many rollouts as allowed are under way."""
    why_not = why_closed(of.spec, of.now) or of.full
    return RolloutPlan(RolloutStep.NOTHING, f"{start.why}; {why_not}") if why_not else start


def why_not_now(spec: ModelSpec, now: datetime) -> str:
    """Return why the live release may not be redeployed now, or an empty text if it may."""
    return PAUSED if spec.rollout.paused else why_closed(spec, now)


def why_closed(spec: ModelSpec, now: datetime) -> str:
    """Return why the window forbids starting and moving traffic now, or an empty text if it does not."""
    window = spec.rollout.window
    if window is None or window.is_open(now):
        return ""
    opens = iso_utc(window.next_opening(now), "seconds")
    return f"the window {window.text} is closed until {opens}"


def _wait_until(due: datetime, now: datetime, why: str) -> RolloutPlan | None:
    waits = f"{why}; the next try is due at {iso_utc(due, 'seconds')}"
    return RolloutPlan(RolloutStep.NOTHING, waits) if due > now else None


def _again_at(record: Record, tries: int) -> datetime:
    """Return when the next try is due: 10 s after the last event, then 40 s, 160 s and so on, at most an hour.

    The first try is due at once: the clocks of the run and of the sensor may differ.
    """
    if not tries:
        return datetime.min.replace(tzinfo=UTC)
    last = datetime.fromisoformat(record.history[-1].at)
    return last + timedelta(seconds=growing_pause_s(tries, BACK_OFF_S, 4, LONGEST_BACK_OFF_S))


def _since(record: Record, now: datetime) -> float:
    """Return the seconds since the last event of the record."""
    return abs(now - datetime.fromisoformat(record.history[-1].at)).total_seconds()
