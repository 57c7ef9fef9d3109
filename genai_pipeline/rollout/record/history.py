"""Make the history of a model from its records: one row per release. Pure. The command line and m/live show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.clock import for_people
from genai_pipeline.core.record import ENDED, HAS_TRAFFIC_AGAIN, WENT_LIVE, Live, Phase, Record
from genai_pipeline.core.verdict import Outcome

BY_ITSELF = "the sensor"
MOST_OF_A_REASON = 200
"""Characters of a reason in a table. The record and `history` have all of it."""


def history(records: Sequence[Record], live: Live | None = None) -> list[dict[str, Any]]:
    """Return a row per release, newest first by the start of its latest rollout.

    Returns: Rows; a value that is not known is None, times are ISO 8601 in UTC, timings seconds.
    """
    return [_row(record, live) for record in sorted(records, key=_began, reverse=True)]


def history_table(records: Sequence[Record], live: Live | None = None) -> list[dict[str, Any]]:
    """Return the history as flat rows of text."""
    return [
        {
            "release": row["release"],
            "revision": row["revision"][:12],
            "state": row["state"],
            "why": shorten(row["why"] or "", MOST_OF_A_REASON)
            + (f" (by {row['ended_by']})" if row["ended_by"] else ""),
            "started by": f"{row['trigger'] or 'unknown'} ({row['who']})",
            "verdicts": " ".join(f"{count} {outcome}" for outcome, count in row["verdicts"].items() if count),
            "timings": " ".join(f"{asset} {seconds:.0f} s" for asset, seconds in row["timings"].items()),
            "began": for_people(row["began"]),
            "last change": for_people(row["ended"]),
        }
        for row in history(records, live)
    ]


def _row(record: Record, live: Live | None) -> dict[str, Any]:
    outcomes = Counter(str(verdict.outcome) for verdict in record.verdicts.values())
    rollback = record.facts.rollback
    return {
        "release": record.release,
        "revision": record.revision,
        "trigger": record.trigger or (record.history[0].what if record.history else None),
        "who": _who(record),
        "approved": record.approved or None,
        "attempts": record.attempt,
        "verdicts": {str(outcome): outcomes.get(str(outcome), 0) for outcome in Outcome},
        "timings": {asset: record.timings[asset] for asset in CHECKS if asset in record.timings},
        "seconds": round(sum(record.timings.values()), 3),
        "state": _state(record, live),
        "why": record.reason or None,
        "ended_by": rollback.by if rollback and record.phase is Phase.ROLLED_BACK else None,
        "began": _began(record) or None,
        "ended": _last(record) if record.phase in ENDED or record.phase is Phase.LIVE else None,
        "events": [{"at": event.at, "what": event.what} for event in record.history],
    }


def _who(record: Record) -> str:
    """Return who started the rollout: a trigger that a person caused names the person."""
    return record.trigger.rpartition(" by ")[2] if " by " in record.trigger else BY_ITSELF


def _state(record: Record, live: Live | None) -> str:
    if record.phase is Phase.ROLLING_OUT and record.may_go_live:
        return f"{record.phase}, proven"
    if live is None:
        return str(record.phase)
    if record.release == live.release and record.phase is Phase.LIVE:
        return f"live, watched until {for_people(live.watched_until)}" if live.watched_until else "live"
    return f"{record.phase}, last good" if record.release == live.last_good else str(record.phase)


def _began(record: Record) -> str:
    """Return when its latest rollout began: a release that was asked for again has had more than one."""
    requested = [event.at for event in record.history if event.what.startswith("run requested")]
    first = record.history[0].at if record.history else ""
    return requested[-record.attempts] if 0 < record.attempts <= len(requested) else first


def _last(record: Record) -> str | None:
    """Return the time of the last event that is about its end, and not about upkeep after it."""
    words = (str(record.phase), WENT_LIVE, HAS_TRAFFIC_AGAIN, "replaced by", "superseded", "rolled back")
    ends = [event.at for event in record.history if event.what.startswith(words)]
    return ends[-1] if ends else record.history[-1].at if record.history else None
