"""Cut over: refuse, or move the traffic, prove it, and drain the release that had it before.

refuse -> move selectors -> prove through the stable address -> pointer -> drain -> scale to zero, or stay warm while
the new release is watched. Killed anywhere, a rerun ends the same. If the proof fails the traffic goes back before
anything else. If the pointer was moved meanwhile (by a rollback), the cut-over gives up and moves the selectors to
where the pointer says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from genai_pipeline.core.errors import ReleaseRefused, StoreConflict, Superseded
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.progress import Log
from genai_pipeline.core.record import ENDED_BADLY, WENT_LIVE, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict, failed, passed
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.drain import Drained
from genai_pipeline.rollout.switch.traffic import Traffic, follow_pointer

SEEN_BEFORE, SEEN_AFTER = 4, 10
"""Requests that the traffic watch must see before the switch, and after the old release stopped."""
WATCH_DEADLINE_S = 10


class TrafficWatch(Protocol):
    """Sends requests through the stable address while traffic moves, and counts failures."""

    @property
    def failed(self) -> int: ...

    def see(self, more: int, deadline_s: float) -> bool:
        """Wait until `more` further requests have ended. Returns: False if the deadline passed first."""
        ...

    def verdict(self) -> Verdict:
        """Return the verdict no_failed_request on all requests so far."""
        ...


WatchTraffic = Callable[[str, str, Task], AbstractContextManager[TrafficWatch]]
"""(stable base address, model name, what to ask it) -> a watch that runs inside a `with` block."""


@dataclass(frozen=True)
class _Move:
    """One change of traffic.

    Args:
        before: the release that had the traffic and can get it back, or None for a first one.
        over: the release that the pointer named at the start; if it names another one later, this move gives up.
        watched_for_s: how long the new release is watched, and `before` kept warm, after the move.
    """

    release: Release
    before: Release | None
    over: str | None
    watched_for_s: float


class CutOver:
    """Move user traffic forward. Only `rollback.py` moves it back."""

    def __init__(self, records: Records, candidates: Candidates, traffic: Traffic) -> None:
        self._records = records
        self._candidates = candidates
        self._traffic = traffic

    def refuse_unless_proven(self, release: Release) -> Record:
        """Read the record of exactly this release again: the interlock.

        Raises: ReleaseRefused: it names every check that is missing or not passed. Superseded.
        """
        record = self._still_wanted(release)
        who = f"{release.model}@{release.id}"
        if not record.may_go_live:
            reasons = [f"{name}: {verdict.summary}" for name, verdict in record.not_passed.items()]
            reasons += [f"{name}: never measured" for name in record.missing]
            raise ReleaseRefused(
                f"{who} may not go live. " + " · ".join(reasons), "Materialize those assets again, or publish a fix."
            )
        return record

    def go_live(self, spec: ModelSpec, release: Release, watch_traffic: WatchTraffic, log: Log) -> list[Verdict]:
        """Move the traffic of a model to `release` and prove it.

        Returns: The verdicts serves_this_release and no_failed_request. If the first failed, the old release has the
            traffic again.
        Raises: ReleaseRefused, Superseded: nothing moved. StoreConflict: another release went live meanwhile, and has
            the traffic.
        """
        record = self.refuse_unless_proven(release)
        recreate = record.facts.strategy == "recreate"
        move = self._move_of(spec, release, recreate)
        stable_url = self._traffic.url(release.model)
        if move.before is None or stable_url is None:
            return [
                *self._first(move),
                passed("no_failed_request", "No release was live before: no traffic was switched."),
            ]
        if recreate:
            verdict = self._switch(move, move.before, lambda: 0)
            if verdict.passed and not move.watched_for_s:
                self._retire(spec, move.before, log)
                self._records.end_watch(release.model, release.id)
            return [
                verdict,
                passed("no_failed_request", "The strategy is recreate: service was interrupted by design."),
            ]
        self._candidates.take_over(spec, release, move.before, log)
        with watch_traffic(stable_url, release.model, release.task) as watch:
            watch.see(SEEN_BEFORE, WATCH_DEADLINE_S)
            verdict = self._switch(move, move.before, lambda: watch.failed)
            drained = self._let_go(spec, move, move.before, log) if verdict.passed else Drained()
            watch.see(SEEN_AFTER, WATCH_DEADLINE_S)
        self._candidates.let_scale(spec, release)
        return [verdict, _with_outlived(watch.verdict(), drained, spec.rollout.drain_deadline_s)]

    def make_room_for(self, spec: ModelSpec, release: Release, log: Log) -> None:
        """Drain the release that has the traffic, as the strategy `recreate` asks, and let it sleep or stop it."""
        before = self._previous(release)
        if before:
            may_sleep = self._records.require(release.model, release.id).facts.live_may_sleep
            self._retire(spec, before, log, may_sleep)

    def _previous(self, release: Release) -> Release | None:
        """Return the release to go back to: the one with the traffic, or after a kill the one the pointer names."""
        on = self._traffic.on(release.model)
        live = self._records.live(release.model)
        if on == release.id:
            on = live.release if live and live.release != release.id else live.last_good if live else None
        if on is None or on == release.id:
            return None
        return self._records.require(release.model, on).as_release

    def _move_of(self, spec: ModelSpec, release: Release, recreate: bool) -> _Move:
        live = self._records.live(release.model)
        over = live.release if live and live.release != release.id else None
        before = self._previous(release)
        # With the strategy recreate the last good release runs no more, unless it sleeps.
        watched = not recreate or (before is not None and self._candidates.is_asleep(before))
        return _Move(release, before, over, spec.rollout.watch_minutes * 60 if watched else 0)

    def _still_wanted(self, release: Release) -> Record:
        """Return the record. Raises: ReleaseRefused, Superseded: the release ended."""
        record = self._records.require(release.model, release.id)
        who = f"{release.model}@{release.id}"
        if record.phase in ENDED_BADLY:
            raise ReleaseRefused(f"{who} was {record.phase}: {record.reason}.", "Publish a new revision.")
        if record.phase is Phase.SUPERSEDED and not self._is_live(release):  # superseding a live release came too late
            raise Superseded(f"{who} was superseded: {record.reason}")
        return record

    def _is_live(self, release: Release) -> bool:
        live = self._records.live(release.model)
        return live is not None and live.release == release.id

    def _first(self, move: _Move) -> list[Verdict]:
        release = move.release
        self._traffic.move(release)
        crash_point("rollout.selector_moved")
        reason = self._traffic.why_not_served_by(release)
        if reason:
            if not self._is_live(release):  # else its users would lose even the address
                self._traffic.close(release.model)
            return [failed("serves_this_release", f"{release.id} did not answer at the stable address: {reason}.")]
        self._settle(move)
        return [passed("serves_this_release", f"The stable address serves {release.id}.", url=self._url(release))]

    def _switch(self, move: _Move, before: Release, failures: Callable[[], int]) -> Verdict:
        release = move.release
        started = time.monotonic()
        self._traffic.move(release)
        crash_point("rollout.selector_moved")
        reason = self._traffic.why_not_served_by(release)
        seconds = round(time.monotonic() - started, 3)
        if not reason and failures():
            reason = f"{failures()} requests failed while the traffic moved"
        facts: dict[str, Any] = {"seconds": seconds, "before": before.id, "url": self._url(release)}
        if reason:
            live = follow_pointer(self._traffic, self._records, release.model)
            if live is None or live.release == release.id:
                self._traffic.move(before)
            back = before.id if live is None or live.release == release.id else live.release
            return failed("serves_this_release", f"{reason}. The traffic went back to {back}.", **facts)
        self._settle(move)
        return passed("serves_this_release", f"The stable address serves {release.id} after {seconds} s.", **facts)

    def _settle(self, move: _Move) -> None:
        """Record that the traffic moved, unless another process moved it or ended the release.

        Raises: StoreConflict, ReleaseRefused, Superseded: this move gave up; the selectors are where the pointer says.
        """
        release = move.release
        try:
            self._still_wanted(release)
            if move.before:
                self._forget_all_but(release, move.before)
            self._records.set_live(release, move.watched_for_s, move.over)
        except (StoreConflict, ReleaseRefused, Superseded):
            follow_pointer(self._traffic, self._records, release.model)
            raise
        crash_point("rollout.pointer_written")
        record_live(self._records, release, move.before.id if move.before else None)
        # A rollback may have moved the selectors before the pointer was written, and then given way to it.
        follow_pointer(self._traffic, self._records, release.model)
        self._traffic.guard(release)
        if not move.watched_for_s and not move.before:
            self._records.end_watch(release.model, release.id)

    def _forget_all_but(self, release: Release, before: Release) -> None:
        """Remove the objects of releases older than the last good one: no rollback goes there by itself."""
        live = self._records.live(release.model)
        kept = {release.id, before.id}
        for old in {live.release, live.last_good, live.rolled_back} - kept if live else ():
            record = self._records.get(release.model, old) if old else None
            if record:
                self._candidates.remove(record.as_release)

    def _let_go(self, spec: ModelSpec, move: _Move, before: Release, log: Log) -> Drained:
        """Drain the old release. It stays warm while the new one is watched, so no request is cut off.

        Or it sleeps, where it may and no request runs.
        """
        if not move.watched_for_s:
            drained = self._retire(spec, before, log)
            self._records.end_watch(move.release.model, move.release.id)
            return drained
        drained = self._drain(spec, before, log)
        asleep = not drained.reason and self._candidates.let_sleep(before, log)
        how = "sleeps" if asleep else "is kept"
        log(f"{before.id} {how} for {move.watched_for_s / 60:g} minutes, while {move.release.id} is watched")
        return replace(drained, reason="", outlived=())

    def _retire(self, spec: ModelSpec, before: Release, log: Log, may_sleep: bool = False) -> Drained:
        drained = self._drain(spec, before, log)
        if drained.reason:
            log(f"{before.id} is stopped in spite of this: {drained.reason} {' · '.join(drained.outlived)}".strip())
        crash_point("rollout.drained")
        if may_sleep and self._candidates.let_sleep(before, log):
            return drained
        self._candidates.stop(before)
        log(f"{before.id} is scaled to zero and remembered as last good")
        return drained

    def _drain(self, spec: ModelSpec, before: Release, log: Log) -> Drained:
        """Drain the old release with the replicas that it has.

        One that its autoscaler removes meanwhile would never say that it is drained. And a rollback brings all of the
        traffic at once. What is stopped stays so: an autoscaler that is held would start it.
        """
        log(f"draining {before.id}")
        if before.scales and self._candidates.is_up(before):
            self._candidates.hold(self._records.require(before.model, before.id).model_spec, before, before)
        return self._candidates.drain(before, spec.rollout.drain_deadline_s)

    def _url(self, release: Release) -> str:
        return f"{self._traffic.url(release.model)}/v1"


def record_live(records: Records, release: Release, before: str | None, event: str = WENT_LIVE) -> None:
    """Record in both records which release has the traffic. Idempotent; a release in quarantine stays there."""
    _in_phase(records, release.model, release.id, Phase.LIVE, "", event)
    if before:
        replaced_by = f"replaced by {release.id}"
        _in_phase(records, release.model, before, Phase.REPLACED, replaced_by, replaced_by)


def _in_phase(records: Records, model: str, release: str, phase: Phase, reason: str, event: str) -> None:
    def change(record: Record) -> Record:
        return record if record.phase in ENDED_BADLY else record.in_phase(phase, reason)

    if records.require(model, release).phase not in ENDED_BADLY | {phase}:
        records.update(model, release, change, event)


def _with_outlived(verdict: Verdict, drained: Drained, deadline_s: float) -> Verdict:
    """Return the verdict with the requests that outlived the drain: only those may a switch cut off."""
    if not drained.reason:
        return verdict
    n = len(drained.outlived)
    summary = f"{verdict.summary} {n} outlived the drain deadline of {deadline_s:g} s and may have been cut"
    rows = [{"request": name} for name in drained.outlived]
    return replace(
        verdict,
        summary=f"{summary}: {' · '.join(drained.outlived) or drained.reason}.",
        evidence={**verdict.evidence, "outlived_the_drain": rows},
    )
