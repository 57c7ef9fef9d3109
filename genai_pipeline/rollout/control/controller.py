"""One tick: for every model what is asked for against what is, and the next step towards it.

Every step is written into the record before it is handed out, and only if the record is still as it was seen: a tick
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
from genai_pipeline.core.record import Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.control.approval import Approvals
from genai_pipeline.rollout.control.plan import UNFINISHED, Plan, Situation, Step, plan_rollout
from genai_pipeline.rollout.control.resolving import Answer
from genai_pipeline.rollout.control.trigger import trigger_of
from genai_pipeline.rollout.record.ledger import Book, Ledger
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.cutover import mark_live
from genai_pipeline.rollout.switch.ending import Ending

TAKE_AWAY_S = 1.0
"""Seconds that a tick waits for an object to go; the next tick waits again."""
BUDGET_S = 4.0
"""Of a tick, after which no more is taken away and nothing more is started; Dagster gives up on one after a minute."""

SENSORS: Mapping[str, str] = MappingProxyType(
    {"hub": "new_versions", "s3": "new_versions_s3", "folder": "new_versions_folder"}
)
"""Kind of source -> name of the sensor that ticks for models from there."""

ROLLOUT_JOBS, PROMOTION_JOBS = "rollout_", "promote_"
"""What the names of the jobs begin with; the model's group follows."""

Revisions = Callable[[Sequence[ModelSpec]], Mapping[str, Answer]]


@dataclass(frozen=True)
class UnderWay:
    """A run that is queued or under way. `rolls_out`: it starts a candidate."""

    model: str
    what: str
    rolls_out: bool = True


@dataclass(frozen=True)
class Start:
    """A run to request. A `rollout` proves the release, a `promotion` moves the traffic to it."""

    kind: Literal["rollout", "promotion"]
    spec: ModelSpec
    release: str
    attempt: int
    run_key: str
    reason: str


@dataclass
class Tick:
    """What came of a tick: runs to request, and a line per model."""

    starts: list[Start] = field(default_factory=list[Start])
    notes: list[str] = field(default_factory=list[str])


class Controller:
    """Decides for models, and writes down what it decides. Knows no Dagster.

    Args:
        revisions: what the sources of models stand for now.
        most: rollouts at once, of all models.
    """

    def __init__(
        self,
        records: Records,
        ledger: Ledger,
        ending: Ending,
        approvals: Approvals,
        revisions: Revisions,
        most: int,
    ) -> None:
        self._records = records
        self._ledger = ledger
        self._ending = ending
        self._approvals = approvals
        self._revisions = revisions
        self._most = most

    def tick(self, specs: Sequence[ModelSpec], under_way: Collection[UnderWay], now: datetime) -> Tick:
        """Compare, for all these models at once.

        Args:
            under_way: every run of this installation, of other models too.
            now: with its zone.
        """
        tick, end = Tick(), time.monotonic() + BUDGET_S
        try:
            books = self._ledger.read([spec.name for spec in specs])
        except GenaiError as error:
            return Tick(notes=[f"{spec.name}: {error}" for spec in specs])
        revisions = self._revisions(specs)
        busy = {run.model: run.what for run in under_way}
        taken = {run.model for run in under_way if run.rolls_out}
        for spec in specs:
            if time.monotonic() > end:
                tick.notes.append(f"{spec.name}: this tick took too long; the next one looks at it")
                continue
            full = f"{len(taken)} rollouts are under way, as many as GENAI_MAX_ROLLOUTS allows"
            try:
                of = _situation(spec, books[spec.name], revisions[spec.name])
                of = replace(of, busy=busy.get(spec.name, ""), full=full * (len(taken) >= self._most), now=now)
                notes, start = self._step(of)
            except GenaiError as error:
                tick.notes.append(f"{spec.name}: {error}")
                continue
            tick.notes += [f"{spec.name}: {note}" for note in notes]
            if start:
                tick.starts.append(start)
                taken |= {spec.name} if start.kind == "rollout" else set()
        return tick

    def _step(self, of: Situation) -> tuple[list[str], Start | None]:
        """Supersede, tidy up, plan, act; what was said of it, and the run that follows."""
        notes: list[str] = []
        of = self._settle(self._supersede(of))
        for left in () if of.busy else _leftovers(of):
            try:
                self._ending.finish(self._records.require(left.model, left.release), TAKE_AWAY_S)
            except GenaiError as error:
                notes.append(f"taking {left.release} away: {error}")
        plan = plan_rollout(of)
        notes.append(plan.why)
        return notes, self._act(of, plan)

    def _settle(self, of: Situation) -> Situation:
        """Where every run that should have finished a cut-over died: the pointer was written once it was proven."""
        live, pointer = of.live_record, of.live
        spent = live is not None and live.promotions >= of.spec.rollout.max_attempts
        if of.busy or pointer is None or live is None or live.phase not in UNFINISHED or not spent:
            return of
        release = self._records.require(live.model, live.release).as_release
        mark_live(self._records, release, pointer.last_good, "went live; no run lived to say so")
        return replace(of, records={**of.records, live.release: self._records.require(live.model, live.release)})

    def _supersede(self, of: Situation) -> Situation:
        records = dict(of.records)
        for old in of.superseded:
            reason = f"{of.desired.id} is asked for instead"
            records[old.release] = self._ending.supersede(old.as_release, reason)
            crash_point("controller.superseded")
        return replace(of, records=records)

    def _act(self, of: Situation, plan: Plan) -> Start | None:
        record = of.records.get(plan.release)
        if plan.step is Step.GIVE_UP:
            self._ending.reject(of.desired, plan.why, TAKE_AWAY_S)
        if plan.step is Step.ASK and record:
            self._approvals.ask(record)
        if plan.step is Step.PROMOTE and record:
            return self._promote(of.spec, record, plan.why)
        if plan.step in (Step.START, Step.REOPEN):
            return self._start(of, plan)
        return None

    def _start(self, of: Situation, plan: Plan) -> Start:
        spec, desired, seen = of.spec, of.desired, of.record
        trigger = seen.trigger if seen and plan.step is Step.START else ""
        if not trigger:
            live = self._records.get(spec.name, of.live.release) if of.live else None
            trigger = trigger_of(spec, desired, live)
        if seen is None:
            opened = self._records.open(spec, desired, f"found at {spec.source.title}: {trigger}", trigger)
            seen = replace(opened, phase=Phase.ROLLING_OUT, attempt=0, promotions=0, approved="")  # as a new one is
            crash_point("controller.opened")
        crash_point("controller.before_attempt")
        fresh = plan.step is Step.REOPEN

        def begin(record: Record) -> Record:
            _as_seen(record, seen)
            return replace(record.reopened() if fresh else record, trigger=trigger).attempted()

        reason = f"{trigger} ({plan.why})"
        attempt = self._records.update(spec.name, desired.id, begin, f"run requested: {plan.why}").attempt
        crash_point("controller.attempt_written")
        return Start("rollout", spec, desired.id, attempt, f"{spec.name}:{desired.id}:{attempt}", reason)

    def _promote(self, spec: ModelSpec, seen: Record, why: str) -> Start:
        def begin(record: Record) -> Record:
            _as_seen(record, seen)
            return record.promoted()

        crash_point("controller.before_promotion")
        record = self._records.update(spec.name, seen.release, begin, f"promotion requested: {why}")
        crash_point("controller.promotion_written")
        run_key = f"{spec.name}:{record.release}:{record.attempt}:promote:{record.promotions}"
        return Start("promotion", spec, record.release, record.attempt, run_key, why)


def _situation(spec: ModelSpec, book: Book | GenaiError, revision: Answer) -> Situation:
    """Raises: what keeps it from being known."""
    if isinstance(book, GenaiError):
        raise book
    if isinstance(revision, GenaiError):
        raise revision
    desired = Release.of(spec, revision)
    for needed in (desired.id, book.live.release if book.live else ""):
        if needed in book.damaged:
            raise StoreConflict(book.damaged[needed], "Delete it, or put back what it was; it is made again.")
    return Situation(spec, desired, book.live, book.records)


def _leftovers(of: Situation) -> Iterator[Record]:
    """Releases that ended while nobody took their candidates away."""
    return (r for r in of.records.values() if r.leftover and r.phase in (Phase.REJECTED, Phase.SUPERSEDED))


def _as_seen(record: Record, seen: Record) -> None:
    """Raises: StoreConflict: somebody else went on with this release since it was looked at."""
    now, then = ((r.phase, r.attempt, r.promotions, r.approved) for r in (record, seen))
    if now != then:
        raise StoreConflict(f"{record.model}@{record.release} changed while it was looked at.", "The next tick looks.")
