"""Roll back: the traffic returns to the release that had it before, and the bad release is removed.

`begin`: intent (record) -> selectors -> notice -> pointer. It takes well under a second if the target is warm.
`finish`: start a cold target, move, prove, drain, remove. Killed anywhere, it ends the same: the pointer, the record
and the Services show what is still to do.

The pointer is written by compare-and-swap. A rollback that loses against a cut-over moves the selectors to where the
pointer says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from textwrap import shorten

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import (
    EngineUnavailable,
    NotFound,
    NotReady,
    Refused,
    StoreConflict,
    Unavailable,
    Unreadable,
)
from genai_pipeline.core.facts import Facts, RollbackIntent
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import manifest_key
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.progress import Log
from genai_pipeline.core.record import ENDED_BADLY, HAS_TRAFFIC_AGAIN, Live, Phase, Record, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.cutover import record_live
from genai_pipeline.rollout.switch.traffic import Traffic, follow_pointer

WAKE_WITHIN_S = 15.0
"""Waking takes a second; the probes of an agent may need some more."""


@dataclass(frozen=True)
class StartedRollback:
    """How far `begin` got.

    Args:
        moved: `to` has the traffic. Otherwise it was not running, and `finish` starts it first.
    """

    bad: str
    to: str
    moved: bool


class RollBack:
    """Move user traffic back. Every method may be repeated, and may run in two processes at once."""

    def __init__(
        self,
        gateways: Gateways,
        records: Records,
        candidates: Candidates,
        traffic: Traffic,
        now: Callable[[], str] = utc_now,
    ) -> None:
        self._gateways = gateways
        self._records = records
        self._candidates = candidates
        self._traffic = traffic
        self._notices = Notices(gateways.store)
        self._now = now

    def begin(
        self, model: str, reason: str, by: str, to: str | None = None, release: str | None = None
    ) -> StartedRollback:
        """Put the live release into quarantine and, if the target is warm, move the traffic at once.

        Args:
            by: who asks: "watch" or a person's name.
            to: the release that gets the traffic; None: the last good one.
            release: the release to roll back; nothing is done if another one is live. None: the live one.
        Raises: Refused: no release can take the traffic, or the named one cannot serve. StoreConflict: another
            release went live meanwhile.
        """
        live = self._records.live(model)
        if live is None:
            raise Refused(f"{model} has no live release.", "There is nothing to roll back.")
        if live.release in {to, None} or release not in {None, live.release}:
            return StartedRollback(live.rolled_back or live.release, live.release, moved=True)
        bad = self._intend(model, live, self._target(model, live, to), reason, by)
        target = self._records.require(model, _way_back(bad)).as_release
        self._wake(bad, target)
        if not self._candidates.is_warm(target):
            return StartedRollback(bad.release, target.id, moved=False)
        self._move(bad, target)
        self._ask_to_leave(bad.as_release)
        return StartedRollback(bad.release, target.id, moved=True)

    def finish(self, model: str, log: Log) -> None:
        """Do what is left of a rollback that was begun. Raises: NotReady: the target does not start or answer."""
        live = self._records.live(model)
        if live is None:
            return
        record = self._records.require(model, live.release)
        if record.phase is Phase.ROLLED_BACK:
            self._start_and_move(record, log)
        elif not self._traffic.is_on(record.as_release):
            self._candidates.revive(record.model_spec, record.as_release, log)
            follow_pointer(self._traffic, self._records, model)
            log(f"the traffic is on {live.release} again, as the pointer says")
        self._take_away(model, log)

    def unfinished(self, model: str) -> str:
        """Return what `finish` has to do, or an empty text if all is done. Ask while no run of the model is active."""
        live = self._records.live(model)
        if live is None:
            return ""
        record = self._records.get(model, live.release)
        if record and record.phase is Phase.ROLLED_BACK:
            return f"{live.release} was rolled back and is still live"
        if record and not self._traffic.is_on(record.as_release):
            return f"the traffic is not on {live.release}, which the pointer names"
        return f"{live.rolled_back} was rolled back and is still to be removed" if live.rolled_back else ""

    def _target(self, model: str, live: Live, to: str | None) -> str:
        """Raises: Refused."""
        bad = self._records.require(model, live.release)
        if bad.phase is Phase.ROLLED_BACK:
            begun = _way_back(bad)
            if to not in (None, begun):
                who = f"{model}@{bad.release}"
                raise Refused(
                    f"{who} is being rolled back to {begun} already.", "Wait for its end: see `genai status`."
                )
            return begun
        target = to or live.last_good
        if target is None:
            raise Refused(
                f"{model}@{live.release} has no last good release to go back to.",
                "Name a release with --to, or publish a better version.",
            )
        record = self._records.get(model, target)
        if record is None:
            raise Refused(f"{model}@{target} has no record.", f"See `genai history {model}` for its releases.")
        if record.phase in ENDED_BADLY:
            raise Refused(
                f"{model}@{target} was {record.phase}: {shorten(record.reason, 160, placeholder=' …')}",
                f"`genai history {model}@{target}` has all of it. Name another release with --to.",
            )
        was_live = record.phase in (
            Phase.REPLACED,
            Phase.LIVE,
        )  # it passed the checks of its time; today there may be more
        if record.not_passed or (record.missing and not was_live):
            unproven = ", ".join([*record.not_passed, *record.missing][:3])
            raise Refused(
                f"{model}@{target} is not proven ({unproven}).", "Name a release that was live before with --to."
            )
        if to and not self._can_run(record.as_release):
            raise Refused(f"The weights of {model}@{target} are no longer staged.", "Name another release with --to.")
        return target

    def _wake(self, bad: Record, target: Release) -> None:
        """Wake a target that sleeps. Where the bad release has its GPU, `finish` stops that one first.

        It takes no longer than a tick may. `finish` waits for a target that is not ready by then.
        """
        if bad.facts.strategy != "recreate":
            with suppress(NotReady, Unavailable):
                self._candidates.wake(target, WAKE_WITHIN_S, lambda _: None)

    def _can_run(self, release: Release) -> bool:
        """Return whether its weights are still there. Pruning spares the last good release, but not older ones."""
        if self._candidates.is_warm(release):
            return True
        return self._gateways.store.head(manifest_key(release.model, release.revision)) is not None

    def _intend(self, model: str, live: Live, target: str, reason: str, by: str) -> Record:
        """Put the live release into quarantine first: after a kill `finish` goes on from there."""
        bad = self._records.require(model, live.release)
        if bad.phase is Phase.ROLLED_BACK:
            return bad
        intent = Facts(rollback=RollbackIntent(to=target, by=by, at=self._now()))

        def quarantine(record: Record) -> Record:
            return record.in_phase(Phase.ROLLED_BACK, reason).with_facts(intent)

        event = f"rolled back to {target} by {by}: {reason}"
        bad = self._records.update(model, live.release, quarantine, event)
        crash_point("rollback.intended")
        return bad

    def _move(self, bad: Record, target: Release) -> None:
        """Move the selectors first: users wait for that. Then the pointer, which decides if two moved at once."""
        self._traffic.move(target)
        crash_point("rollback.selector_moved")
        text = f"{bad.release} was rolled back to {target.id}: {bad.reason}"
        self._notices.write(Notice(NoticeKind.ROLLED_BACK, bad.model, bad.release, text, self._now()))
        try:
            self._records.go_back(target, bad.release)
        except StoreConflict:
            follow_pointer(self._traffic, self._records, bad.model)
            raise
        crash_point("rollback.pointer_written")
        record_live(self._records, target, None, f"{HAS_TRAFFIC_AGAIN}: {bad.release} was rolled back")
        follow_pointer(self._traffic, self._records, bad.model)
        self._traffic.guard(target)

    def _start_and_move(self, bad: Record, log: Log) -> None:
        target = self._records.require(bad.model, _way_back(bad))
        if not self._candidates.is_warm(target.as_release):
            if bad.facts.strategy == "recreate":
                log(f"{bad.release} makes room")
                self._candidates.stop(bad.as_release)
            asleep = self._candidates.is_asleep(target.as_release)
            log(f"waking {target.release}" if asleep else f"starting {target.release} from zero")
            self._candidates.revive(target.model_spec, target.as_release, log)
            self._candidates.hold(target.model_spec, target.as_release, bad.as_release)
        self._move(bad, target.as_release)

    def _take_away(self, model: str, log: Log) -> None:
        """Prove that the target serves, and only then remove the bad release: its logs go with it."""
        live = self._records.live(model)
        if live is None or live.rolled_back is None:
            return
        serves = self._records.require(model, live.release)
        # A kill between pointer and record leaves this to do.
        record_live(self._records, serves.as_release, None, f"{HAS_TRAFFIC_AGAIN}: {live.rolled_back} was rolled back")
        reason = self._traffic.why_not_served_by(serves.as_release)
        if reason:
            raise NotReady(f"{live.release} has the traffic of {model} again but does not answer: {reason}")
        log(f"the stable address serves {live.release}")
        bad = self._records.require(model, live.rolled_back)
        drained = self._candidates.drain(bad.as_release, bad.model_spec.rollout.drain_deadline_s)
        if drained.reason:
            log(f"{bad.release} is stopped in spite of this: {drained.reason} {' · '.join(drained.outlived)}".strip())
        crash_point("rollback.drained")
        self._candidates.let_scale(serves.model_spec, serves.as_release)
        self._candidates.remove(bad.as_release)
        self._records.taken_away(model, bad.release)
        log(f"{bad.release} is removed")

    def _ask_to_leave(self, bad: Release) -> None:
        """Ask the pods to close kept connections at once; errors do not matter here."""
        with suppress(EngineUnavailable, NotFound):
            engine = self._gateways.inference(self._candidates.engine_url(bad))
            for _ in range(2 * self._candidates.replicas_up(bad)):
                engine.leave()


def _way_back(bad: Record) -> str:
    """Return where the rollback that was begun leads to. Raises: Unreadable: the record does not say so."""
    if bad.facts.rollback is None:
        missing = KeyError("it was rolled back, and facts.rollback is missing")
        raise Unreadable(record_key(bad.model, bad.release), missing)
    return bad.facts.rollback.to
