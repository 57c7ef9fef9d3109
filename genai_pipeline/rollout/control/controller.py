"""Take one step for every model at a tick: from the state that is to the release that is asked for.

A step is written into the record before its run is requested, and only if the record is as the tick saw it. So a tick
that dies costs an attempt, two ticks at once start one run, and a tick that saw old records starts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Literal

from genai_pipeline.core.errors import GenaiError, StoreConflict
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import WENT_LIVE, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.control.approval import Approvals
from genai_pipeline.rollout.control.resolving import ResolvedRevision
from genai_pipeline.rollout.control.rollout_plan import UNFINISHED, RolloutPlan, RolloutStep, Situation, plan_rollout
from genai_pipeline.rollout.control.trigger import trigger_of
from genai_pipeline.rollout.record.record_cache import ModelRecords, RecordCache
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.cutover import record_live
from genai_pipeline.rollout.switch.ending import Ending

TAKE_AWAY_S = 1.0
"""Seconds that a tick waits until an object is deleted. The next tick waits again."""
BUDGET_S = 4.0
"""Seconds of a tick after which it looks at no further model. Dagster ends a tick after a minute."""

SENSORS: Mapping[str, str] = MappingProxyType(
    {"hub": "new_versions", "s3": "new_versions_s3", "folder": "new_versions_folder"}
)
"""Kind of source -> name of the sensor that ticks for its models."""

ROLLOUT_JOBS, PROMOTION_JOBS = "rollout_", "promote_"
"""How the names of the jobs begin. The model's group follows."""

Revisions = Callable[[Sequence[ModelSpec]], Mapping[str, ResolvedRevision]]


@dataclass(frozen=True)
class ActiveRun:
    """A run that is queued or under way.

    Args:
        what: the run in words, for people.
        rolls_out: whether it starts a candidate.
    """

    model: str
    what: str
    rolls_out: bool = True


@dataclass(frozen=True)
class RequestedRun:
    """A run to request. A `rollout` proves the release, a `promotion` moves the traffic to it."""

    kind: Literal["rollout", "promotion"]
    spec: ModelSpec
    release: str
    attempt: int
    run_key: str
    reason: str


@dataclass
class ControllerTick:
    """The result of a tick: the runs to request, and lines about each model."""

    starts: list[RequestedRun] = field(default_factory=list[RequestedRun])
    notes: list[str] = field(default_factory=list[str])


class Controller:
    """Decide the next step of each model, and record it. Knows nothing of Dagster.

    Args:
        revisions: resolves what the sources of models stand for now.
        most: how many rollouts of all models may be under way at once.
    """

    def __init__(
        self,
        records: Records,
        cache: RecordCache,
        ending: Ending,
        approvals: Approvals,
        revisions: Revisions,
        most: int,
    ) -> None:
        self._records = records
        self._cache = cache
        self._ending = ending
        self._approvals = approvals
        self._revisions = revisions
        self._most = most

    def tick(self, specs: Sequence[ModelSpec], under_way: Collection[ActiveRun], now: datetime) -> ControllerTick:
        """Decide and record the next step of each of these models.

        Args:
            under_way: every active run of this installation, of other models too.
            now: the time, with its zone.
        """
        tick, end = ControllerTick(), time.monotonic() + BUDGET_S
        try:
            known = self._cache.read([spec.name for spec in specs])
        except GenaiError as error:
            return ControllerTick(notes=[f"{spec.name}: {error}" for spec in specs])
        revisions = self._revisions(specs)
        busy = {run.model: run.what for run in under_way}
        taken = {run.model for run in under_way if run.rolls_out}
        for spec in specs:
            if time.monotonic() > end:
                tick.notes.append(f"{spec.name}: this tick took too long; the next tick looks at it")
                continue
            try:
                of = situation_of(spec, known[spec.name], revisions[spec.name])
                full = why_full(taken, self._most)
                notes, start = self._step(replace(of, busy=busy.get(spec.name, ""), full=full, now=now))
            except GenaiError as error:
                tick.notes.append(f"{spec.name}: {error}")
                continue
            tick.notes += [f"{spec.name}: {note}" for note in notes]
            if start:
                tick.starts.append(start)
                if start.kind == "rollout":
                    taken.add(spec.name)
        return tick

    def _step(self, of: Situation) -> tuple[list[str], RequestedRun | None]:
        """Supersede, remove what is left of ended releases, plan, act. Return notes, and the run to request."""
        notes: list[str] = []
        of = self._settle(self._supersede(of))
        for left in () if of.busy else _leftovers(of):
            try:
                self._ending.finish(self._records.require(left.model, left.release), TAKE_AWAY_S)
            except GenaiError as error:
                notes.append(f"removing {left.release}: {error}")
        plan = plan_rollout(of)
        notes.append(plan.why)
        return notes, self._act(of, plan)

    def _settle(self, of: Situation) -> Situation:
        """Record a cut-over as done if every run that should have finished it died.

        The pointer is proof enough: it was written after the release had answered through the stable address.
        """
        live, pointer = of.live_record, of.live
        spent = live is not None and live.promotions >= of.spec.rollout.max_attempts
        if of.busy or pointer is None or live is None or live.phase not in UNFINISHED or not spent:
            return of
        release = self._records.require(live.model, live.release).as_release
        record_live(
            self._records, release, pointer.last_good, f"{WENT_LIVE}; every run that should have recorded it died"
        )
        return replace(of, records={**of.records, live.release: self._records.require(live.model, live.release)})

    def _supersede(self, of: Situation) -> Situation:
        records = dict(of.records)
        for old in of.superseded:
            reason = f"{of.desired.id} is asked for instead"
            records[old.release] = self._ending.supersede(old.as_release, reason)
            crash_point("controller.superseded")
        return replace(of, records=records)

    def _act(self, of: Situation, plan: RolloutPlan) -> RequestedRun | None:
        record = of.records.get(plan.release)
        if plan.step is RolloutStep.GIVE_UP:
            self._ending.reject(of.desired, plan.why, TAKE_AWAY_S)
        if plan.step is RolloutStep.ASK and record:
            self._approvals.ask(record)
        if plan.step is RolloutStep.PROMOTE and record:
            return self._promote(of.spec, record, plan.why)
        if plan.step in (RolloutStep.START, RolloutStep.REOPEN):
            return self._start(of, plan)
        return None

    def _start(self, of: Situation, plan: RolloutPlan) -> RequestedRun:
        spec, desired, seen = of.spec, of.desired, of.record
        trigger = seen.trigger if seen and plan.step is RolloutStep.START else ""
        if not trigger:
            live = self._records.get(spec.name, of.live.release) if of.live else None
            trigger = trigger_of(spec, desired, live)
        if seen is None:
            opened = self._records.open(spec, desired, f"found at {spec.source.title}: {trigger}", trigger)
            seen = replace(opened, phase=Phase.ROLLING_OUT, attempt=0, promotions=0, approved="")  # as a new one is
            crash_point("controller.opened")
        crash_point("controller.before_attempt")
        fresh = plan.step is RolloutStep.REOPEN

        def begin(record: Record) -> Record:
            _as_seen(record, seen)
            return replace(record.reopened() if fresh else record, trigger=trigger).attempted()

        reason = f"{trigger} ({plan.why})"
        attempt = self._records.update(spec.name, desired.id, begin, f"run requested: {plan.why}").attempt
        crash_point("controller.attempt_written")
        return RequestedRun("rollout", spec, desired.id, attempt, f"{spec.name}:{desired.id}:{attempt}", reason)

    def _promote(self, spec: ModelSpec, seen: Record, why: str) -> RequestedRun:
        def begin(record: Record) -> Record:
            _as_seen(record, seen)
            return record.promoted()

        crash_point("controller.before_promotion")
        record = self._records.update(spec.name, seen.release, begin, f"promotion requested: {why}")
        crash_point("controller.promotion_written")
        run_key = f"{spec.name}:{record.release}:{record.attempt}:promote:{record.promotions}"
        return RequestedRun("promotion", spec, record.release, record.attempt, run_key, why)


def why_full(taken: Collection[str], most: int) -> str:
    """Return why no further rollout may start, or an empty text if one may.

    Args:
        taken: models whose rollouts are under way.
        most: how many may be under way at once.
    """
    full = len(taken) >= most
    return f"{len(taken)} rollouts are under way, as many as GENAI_MAX_ROLLOUTS allows" if full else ""


def situation_of(spec: ModelSpec, found: ModelRecords | GenaiError, revision: ResolvedRevision) -> Situation:
    """Put together what is known of a model. Raises: GenaiError: the records or the source could not be read."""
    if isinstance(found, GenaiError):
        raise found
    if isinstance(revision, GenaiError):
        raise revision
    desired = Release.of(spec, revision)
    for needed in (desired.id, found.live.release if found.live else ""):
        if needed in found.damaged:
            raise StoreConflict(found.damaged[needed], "Restore it, or delete it: it is then made again.")
    return Situation(spec, desired, found.live, found.records)


def _leftovers(of: Situation) -> Iterator[Record]:
    """Return the releases that ended and whose candidates were not removed."""
    return (r for r in of.records.values() if r.leftover and r.phase in (Phase.REJECTED, Phase.SUPERSEDED))


def _as_seen(record: Record, seen: Record) -> None:
    """Raises: StoreConflict: the record changed since this tick read it."""
    now, then = ((r.phase, r.attempt, r.promotions, r.approved) for r in (record, seen))
    if now != then:
        raise StoreConflict(f"{record.model}@{record.release} changed during this tick.", "The next tick looks again.")
