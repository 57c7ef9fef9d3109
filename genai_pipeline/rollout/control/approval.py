"""Approval by a person: a proven release waits, a notice says where its reports are, and a person approves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import Refused
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.record import Phase, Record
from genai_pipeline.rollout.record.notices import Notices
from genai_pipeline.rollout.record.records import Records


class Approvals:
    """Ask for approvals and record them. Every method may be repeated.

    Args:
        ui: address of the Dagster UI, which shows the reports.
    """

    def __init__(self, records: Records, notices: Notices, ui: str, now: Callable[[], str] = utc_now) -> None:
        self._records = records
        self._notices = notices
        self._ui = ui.rstrip("/")
        self._now = now

    def ask(self, record: Record) -> Record:
        """Let a proven release wait for approval.

        The notice is written first: if this is killed, it is better sent twice than never.
        """
        if not _may_wait(record):
            return record
        reason = self._question(record)
        self._notices.write(Notice(NoticeKind.AWAITING_APPROVAL, record.model, record.release, reason, self._now()))
        return self._records.update(
            record.model,
            record.release,
            lambda r: r.in_phase(Phase.AWAITING_APPROVAL, reason) if _may_wait(r) else r,
            "proven; waits for approval",
        )

    def approve(self, model: str, release: str, by: str) -> Record:
        """Record that a person approves a waiting release. The next tick of the version sensor promotes it.

        Args:
            by: the person's name.
        Raises: NotFound: the release has no record. Refused: the release does not wait for approval.
        """
        record = self._records.require(model, release)
        if record.approved:
            return record
        if record.phase is not Phase.AWAITING_APPROVAL:
            why = f"{model}@{release} does not wait for approval: it is {record.phase}. {record.reason}".strip()
            raise Refused(why, "Only a proven release with `approval: manual` can be approved. See `genai status`.")
        approved = f"{by} at {self._now()}"
        return self._records.update(model, release, lambda r: _approved(r, approved), f"approved by {by}")

    def _question(self, record: Record) -> str:
        who = f"{record.model}@{record.release}"
        proof = {name.partition(".")[0] for name in record.required}
        reports = " ".join(
            f"{self._ui}/assets/{record.model}/{name}?partition={record.release}"
            for name in ("serving_report", "agent_report")
            if name in proof
        )
        trigger = f" ({record.trigger})" if record.trigger else ""
        return (
            f"{who}{trigger} passed every check. Approve it: `genai approve {who}` or job approve. Reports: {reports}"
        )


def _may_wait(record: Record) -> bool:
    return record.phase is Phase.ROLLING_OUT and record.may_go_live and not record.approved


def _approved(record: Record, approved: str) -> Record:
    """Return the approved record, unless the release was superseded meanwhile."""
    return replace(record, approved=approved) if record.phase is Phase.AWAITING_APPROVAL else record
