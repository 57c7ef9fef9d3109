"""The way back: the traffic returns to the release that had it before, and the bad one is taken away.

intent (record) -> selectors -> notice -> pointer, in well under a second where the target is warm: `begin`. All else
takes its time: start a cold target, move, prove, drain, remove: `finish`. Killed anywhere, `finish` ends the same:
what is still to do is read from the pointer, the record and the Services.

The pointer is written by compare-and-swap; whoever loses against a cut-over puts the selectors where the pointer says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import EngineUnavailable, NotFound, NotReady, Refused, StoreConflict
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import manifest_key
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.record import ENDED_BADLY, Live, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidate import Candidates
from genai_pipeline.rollout.switch.cutover import mark_live
from genai_pipeline.rollout.switch.drain import drain
from genai_pipeline.rollout.switch.traffic import Traffic, follow_pointer

Say = Callable[[str], None]
INTENT = "rollback"
"""Name of the fact in a bad release's record: where to go back to, who asked, and when."""


@dataclass(frozen=True)
class Begun:
    """How far `begin` came. `moved`: `to` has the traffic; else it was cold, and `finish` starts it first."""

    bad: str
    to: str
    moved: bool


class RollBack:
    """Moves user traffic back. Every method may be repeated, and may run in two processes at once."""

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

    def begin(self, model: str, reason: str, by: str, to: str | None = None, release: str | None = None) -> Begun:
        """Put the live release into quarantine and, where the target is warm, move the traffic at once.

        Args:
            by: who asks, as "watch" or a person's name.
            to: None: the last good release.
            release: the one meant; where another one is live, nothing is left to do.
        Raises: Refused: nothing to go back to, or not from here. StoreConflict: another release went live meanwhile.
        """
        live = self._records.live(model)
        if live is None:
            raise Refused(f"{model} has no live release.", "There is nothing to go back from.")
        if live.release in {to, None} or release not in {None, live.release}:
            return Begun(live.rolled_back or live.release, live.release, moved=True)
        bad = self._intend(model, live, self._target(model, live, to), reason, by)
        target = self._records.require(model, bad.facts[INTENT]["to"]).as_release
        if not self._candidates.is_warm(target):
            return Begun(bad.release, target.id, moved=False)
        self._move(bad, target)
        self._ask_to_leave(bad.as_release)
        return Begun(bad.release, target.id, moved=True)

    def finish(self, model: str, say: Say) -> None:
        """Do what is left to do, of whatever was begun. Raises: NotReady: the target does not start, or not answer."""
        live = self._records.live(model)
        if live is None:
            return
        record = self._records.require(model, live.release)
        if record.phase is Phase.ROLLED_BACK:
            self._start_and_move(record, say)
        elif not self._traffic.is_on(live.release, model):
            self._candidates.revive(record.model_spec, record.as_release, say)
            follow_pointer(self._traffic, self._records, model)
            say(f"the traffic is on {live.release} again, as the pointer says")
        self._take_away(model, say)

    def unfinished(self, model: str) -> str:
        """What `finish` would have to do; empty where all is done. Ask only while no rollout is under way."""
        live = self._records.live(model)
        if live is None:
            return ""
        record = self._records.get(model, live.release)
        if record and record.phase is Phase.ROLLED_BACK:
            return f"{live.release} was rolled back and is still live"
        if not self._traffic.is_on(live.release, model):
            return f"the traffic is not on {live.release}, which the pointer names"
        return f"{live.rolled_back} was rolled back and is still to be taken away" if live.rolled_back else ""

    def _target(self, model: str, live: Live, to: str | None) -> str:
        """Raises: Refused."""
        bad = self._records.require(model, live.release)
        if bad.phase is Phase.ROLLED_BACK:
            begun = str(bad.facts[INTENT]["to"])
            if to not in (None, begun):
                who = f"{model}@{bad.release}"
                raise Refused(f"{who} is on its way back to {begun} already.", "Let that end, and go on from there.")
            return begun
        target = to or live.last_good
        if target is None:
            raise Refused(
                f"{model}@{live.release} has no last good release to go back to.",
                "Name one by --to, or publish a better version.",
            )
        record = self._records.get(model, target)
        if record is None:
            raise Refused(f"{model}@{target} has no record.", f"See `genai history {model}` for its releases.")
        if record.phase in ENDED_BADLY:
            raise Refused(f"{model}@{target} was {record.phase}: {record.reason}.", "Choose another one by --to.")
        was_live = record.phase in (Phase.REPLACED, Phase.LIVE)  # by the checks of its time; there may be more today
        if record.not_passed or (record.missing and not was_live):
            unproven = ", ".join([*record.not_passed, *record.missing][:3])
            raise Refused(f"{model}@{target} is not proven ({unproven}).", "Choose one that was live before by --to.")
        if to and not self._can_run(record.as_release):
            raise Refused(f"The weights of {model}@{target} are no longer staged.", "Choose another one by --to.")
        return target

    def _can_run(self, release: Release) -> bool:
        """Nothing prunes the last good one; an older one that is named may have lost its weights."""
        if self._candidates.is_warm(release):
            return True
        return self._gateways.store.head(manifest_key(release.model, release.revision)) is not None

    def _intend(self, model: str, live: Live, target: str, reason: str, by: str) -> Record:
        """Quarantine comes first: from here on a kill ends in `finish`, and not in a bad release that stays."""
        bad = self._records.require(model, live.release)
        if bad.phase is Phase.ROLLED_BACK:
            return bad
        intent: Mapping[str, Any] = {"to": target, "by": by, "at": self._now()}

        def quarantine(record: Record) -> Record:
            facts = {**record.facts, INTENT: intent}
            return replace(record.in_phase(Phase.ROLLED_BACK, reason), facts=facts)

        event = f"rolled back to {target} by {by}: {reason}"
        bad = self._records.update(model, live.release, quarantine, event)
        crash_point("rollback.intended")
        return bad

    def _move(self, bad: Record, target: Release) -> None:
        """Selectors first, because users wait for them; then the pointer, which decides if two moved at once."""
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
        mark_live(self._records, target, None, f"has the traffic again: {bad.release} was rolled back")
        follow_pointer(self._traffic, self._records, bad.model)
        self._traffic.guard(target)

    def _start_and_move(self, bad: Record, say: Say) -> None:
        target = self._records.require(bad.model, bad.facts[INTENT]["to"])
        if not self._candidates.is_warm(target.as_release):
            if bad.facts.get("strategy") == "recreate":
                say(f"{bad.release} makes room")
                self._candidates.stop(bad.as_release)
            say(f"starting {target.release} from zero")
            self._candidates.revive(target.model_spec, target.as_release, say)
        self._move(bad, target.as_release)

    def _take_away(self, model: str, say: Say) -> None:
        """Prove who serves, and only then remove the bad release: with its logs goes the way to look at it."""
        live = self._records.live(model)
        if live is None or live.rolled_back is None:
            return
        serves = self._records.require(model, live.release)
        # Killed between pointer and record, this is what is left of the move.
        mark_live(self._records, serves.as_release, None, f"has the traffic again: {live.rolled_back} was rolled back")
        reason = self._traffic.why_not_served_by(serves.as_release)
        if reason:
            raise NotReady(f"{live.release} has the traffic of {model} again but does not answer: {reason}")
        say(f"the stable address serves {live.release}")
        bad = self._records.require(model, live.rolled_back)
        self._drain(bad, say)
        crash_point("rollback.drained")
        self._candidates.remove(bad.as_release)
        self._records.taken_away(model, bad.release)
        say(f"{bad.release} is taken away")

    def _drain(self, bad: Record, say: Say) -> None:
        replicas = self._candidates.replicas_up(bad.as_release)
        if not replicas:
            return
        engine = self._gateways.inference(self._candidates.engine_url(bad.as_release))
        drained = drain(engine, self._gateways.metrics, replicas, bad.model_spec.rollout.drain_deadline_s)
        if drained.reason:
            say(f"{bad.release} is stopped all the same: {drained.reason} {' · '.join(drained.outlived)}".strip())

    def _ask_to_leave(self, bad: Release) -> None:
        """Kept connections stay with their pods until those close them: ask at once, best effort."""
        with suppress(EngineUnavailable, NotFound):
            engine = self._gateways.inference(self._candidates.engine_url(bad))
            for _ in range(2 * self._candidates.replicas_up(bad)):
                engine.leave()
