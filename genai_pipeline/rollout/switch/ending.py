"""End a release that does not go live: record why, write a notice, give traffic back, remove its candidate.

The record is written first and says that something is left to do. A run or a tick that finds such a record does the
rest again.
"""

from __future__ import annotations

from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.record import ON_ITS_WAY, Live, Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.candidates import GONE_DEADLINE_S, Candidates
from genai_pipeline.rollout.switch.traffic import Traffic


class Ending:
    """End releases. Every method may be repeated."""

    def __init__(self, records: Records, candidates: Candidates, traffic: Traffic, notices: Notices) -> None:
        self._records = records
        self._candidates = candidates
        self._traffic = traffic
        self._notices = notices

    def reject(self, release: Release, reason: str, within_s: float = GONE_DEADLINE_S) -> Record:
        """Put `release` into quarantine, unless it is live already: then its watch judges it.

        Args:
            within_s: seconds to wait until each object is deleted.
        Raises: NotReady: something is not deleted in time. Call it again.
        """
        live = self._records.live(release.model)
        if live and live.release == release.id:
            return self._records.require(release.model, release.id)
        record = self._records.update(
            release.model, release.id, lambda r: r.ended(Phase.REJECTED, reason), f"rejected: {reason}"
        )
        crash_point("ending.recorded")
        return self.finish(record, within_s)

    def supersede(self, release: Release, reason: str) -> Record:
        """Mark `release` as superseded if it is still on its way. A run of it notices that by itself."""
        return self._records.update(
            release.model,
            release.id,
            lambda r: r.ended(Phase.SUPERSEDED, reason) if r.phase in ON_ITS_WAY else r,
            f"superseded: {reason}",
        )

    def finish(self, record: Record, within_s: float = GONE_DEADLINE_S) -> Record:
        """Do what is left of an end: write the notice, give the traffic back, remove the objects.

        Args:
            within_s: seconds to wait for each object.
        Raises: NotReady: something is not removed or not restarted in time. Call it again.
        """
        live = self._records.live(record.model)
        if not live or live.release != record.release:
            if record.phase is Phase.REJECTED:
                self._notices.write(_notice(record))
            self._take_away(record, live, within_s)
        crash_point("ending.before_done")
        return self._records.update(record.model, record.release, _done)

    def _take_away(self, record: Record, live: Live | None, within_s: float) -> None:
        release = record.as_release
        before = self._records.require(record.model, live.release) if live else None
        if self._traffic.touches(release):
            if before:  # a run died between moving the traffic and proving that it arrived
                self._traffic.move(before.as_release)
            else:
                self._traffic.close(record.model)
        crash_point("ending.traffic_back")
        if live and live.last_good == record.release:
            self._candidates.stop(release, within_s)
        else:
            self._candidates.remove(release, within_s)
        if before and record.facts.strategy == "recreate":
            self._candidates.restart(before.model_spec, before.as_release, within_s)


def _done(record: Record) -> Record:
    return record.in_phase(record.phase, record.reason) if record.leftover else record


def _notice(record: Record) -> Notice:
    failed = [name for name, verdict in record.verdicts.items() if verdict.outcome is Outcome.FAILED]
    kind = NoticeKind.REJECTED if failed else NoticeKind.INCONCLUSIVE
    if any(name.startswith("capacity.") for name in failed):
        kind = NoticeKind.NO_CAPACITY
    return Notice(kind, record.model, record.release, record.reason, record.history[-1].at)
