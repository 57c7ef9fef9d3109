"""What to do about a model now: its desired release against what is. Pure; the controller acts on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY, ON_ITS_WAY, Live, Phase, Record
from genai_pipeline.core.release import Release

BACK_OFF_S = 10
LONGEST_BACK_OFF_S = 3600
WAY_BACK_S = 1800
"""How long a rollback has the model for itself; then a new release may be the way out."""
PAUSED = "rollout.paused is true"
UNFINISHED = ON_ITS_WAY | {Phase.SUPERSEDED}
"""Phases in which the release that the pointer names cannot be but by a run that died, or a tick that came late."""


class Step(StrEnum):
    """What a tick does about one model. `promote` moves the traffic to what is proven, and proves nothing again."""

    NOTHING = "nothing"
    START = "start"
    REOPEN = "reopen"
    PROMOTE = "promote"
    ASK = "ask for approval"
    GIVE_UP = "give up"


@dataclass(frozen=True)
class Plan:
    """One step, the release that it is about, and the reason for it, worded for the tick's log."""

    step: Step
    why: str
    release: str = ""


@dataclass(frozen=True)
class Situation:
    """All that is known of a model.

    Args:
        spec: its model file of today.
        desired: the release that the source and the model file ask for.
        records: release id -> record; absent for a release never seen.
        busy: what is queued or under way for this model; empty where nothing is.
        full: why the cluster takes no further rollout; empty where it does.
        now: with its zone.
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
        """Releases that are on their way though another one is asked for; never the one that users talk to."""
        if self.spec.rollout.paused:
            return []
        wanted = {self.desired.id, self.live.release if self.live else ""}
        return [r for r in self.records.values() if r.phase in ON_ITS_WAY and r.release not in wanted]


def plan_rollout(of: Situation) -> Plan:
    """The next step for the release that is asked for. One thing at a time: nothing starts beside a run."""
    live, wanted = of.live_record, of.desired.id
    if of.busy:
        return Plan(Step.NOTHING, f"{of.busy} is under way")
    if of.spec.rollout.paused:
        return Plan(Step.NOTHING, PAUSED)
    if live and live.phase in UNFINISHED and live.promotions < of.spec.rollout.max_attempts:
        return _finish(live, of.now)
    if of.live and live and live.phase is Phase.ROLLED_BACK and _since(live, of.now) < WAY_BACK_S:
        return Plan(Step.NOTHING, f"the way back from {live.release} is not finished")
    if of.live and of.live.release == wanted:
        return Plan(Step.NOTHING, f"{wanted} is live")
    if of.live and of.live.watched_until and of.live.last_good:
        until = f"{of.live.release} is being watched until {of.live.watched_until}"
        return Plan(Step.NOTHING, f"{until}; the next rollout starts then")
    return _plan_desired(of)


def _finish(live: Record, now: datetime) -> Plan:
    """The pointer was written, and the run ended before the rest was done."""
    why = f"the cut-over to {live.release} was interrupted"
    return _wait_until(_again_at(live, live.promotions), now, why) or Plan(Step.PROMOTE, why, live.release)


def _plan_desired(of: Situation) -> Plan:
    """For a desired release that is not live, with nothing in its way."""
    record, wanted = of.record, of.desired.id
    if record is None:
        return _when_it_may(of, Plan(Step.START, f"{wanted} is new", wanted))
    if record.phase in ENDED_BADLY:
        why = f"{wanted} was {record.phase}: {record.reason}. It is tried again when its revision or serving changes"
        return Plan(Step.NOTHING, why)
    if record.phase in (Phase.REPLACED, Phase.LIVE):
        return _when_it_may(of, Plan(Step.REOPEN, f"{wanted} was live before and is asked for again", wanted))
    if record.phase is Phase.SUPERSEDED:
        # A ref that goes to and fro would otherwise start and end rollouts for ever, each for nothing.
        again = Plan(Step.REOPEN, f"{wanted} was superseded and is asked for again", wanted)
        waiting = _wait_until(_again_at(record, record.attempt), of.now, f"{wanted} was superseded")
        return waiting or _when_it_may(of, again)
    return _promote(of, record) if record.may_go_live else _try(of, record)


def _promote(of: Situation, record: Record) -> Plan:
    """For a release that is all passed and has not got the traffic."""
    wanted = record.release
    if wait := why_not_yet(of.spec, record, of.now):
        asked = record.phase is Phase.AWAITING_APPROVAL or not needs_approval(of.spec, record)
        return Plan(Step.NOTHING if asked else Step.ASK, wait, wanted)
    if record.promotions >= of.spec.rollout.max_attempts:
        return _try(of, record)
    why = f"{wanted} is proven" + (f" and approved by {record.approved}" if record.approved else "")
    waiting = _wait_until(_again_at(record, record.promotions), of.now, f"{why}, but its traffic did not move")
    return waiting or Plan(Step.PROMOTE, why, wanted)


def what_it_waits_for(spec: ModelSpec, record: Record, now: datetime) -> str:
    """What a proven release waits for; empty for a release that is not proven, or that needs to wait no longer."""
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


def _try(of: Situation, record: Record) -> Plan:
    allowed = of.spec.rollout.max_attempts
    if record.attempts >= allowed:
        return Plan(Step.GIVE_UP, f"{record.attempts} attempts ended without a verdict", record.release)
    due = _again_at(record, record.attempts)
    waiting = _wait_until(due, of.now, f"attempt {record.attempts} ended without a verdict")
    return waiting or _when_it_may(of, Plan(Step.START, f"attempt {record.attempts + 1} of {allowed}", record.release))


def _when_it_may(of: Situation, start: Plan) -> Plan:
    """`start`, unless the window is closed or the cluster has its hands full."""
    why_not = why_closed(of.spec, of.now) or of.full
    return Plan(Step.NOTHING, f"{start.why}; {why_not}") if why_not else start


def why_not_now(spec: ModelSpec, now: datetime) -> str:
    """Why nothing is begun with what is live either; empty where it may."""
    return PAUSED if spec.rollout.paused else why_closed(spec, now)


def why_closed(spec: ModelSpec, now: datetime) -> str:
    """Why nothing starts and no traffic moves at this time; empty where it may."""
    window = spec.rollout.window
    if window is None or window.is_open(now):
        return ""
    return f"the window {window.text} is closed until {_said(window.next_opening(now))}"


def _wait_until(due: datetime, now: datetime, why: str) -> Plan | None:
    return Plan(Step.NOTHING, f"{why}; the next try is due at {_said(due)}") if due > now else None


def _again_at(record: Record, tries: int) -> datetime:
    """Return when the next try is due: 10 s after the last event, then 40 s, 160 s and so on, an hour at most.

    The first try is due at once: the clocks of the run and of the sensor may differ.
    """
    if not tries:
        return datetime.min.replace(tzinfo=UTC)
    last = datetime.fromisoformat(record.history[-1].at)
    return last + timedelta(seconds=min(BACK_OFF_S * 4 ** (tries - 1), LONGEST_BACK_OFF_S))


def _since(record: Record, now: datetime) -> float:
    """Seconds since the last event."""
    return abs(now - datetime.fromisoformat(record.history[-1].at)).total_seconds()


def _said(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
