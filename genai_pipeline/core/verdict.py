"""Verdicts: what a check found, with the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """Worst first is `failed`, then `inconclusive`: an error while measuring is never a pass."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


_SEVERITY = {Outcome.PASSED: 0, Outcome.INCONCLUSIVE: 1, Outcome.FAILED: 2}


@dataclass(frozen=True)
class Verdict:
    """One check's outcome.

    Args:
        check: name of the check, e.g. ``ttft_p95``; the asset it belongs to is not part of it.
        outcome: passed, failed or inconclusive.
        summary: one sentence with the value and the limit, for a person.
        evidence: JSON-serialisable facts. A list of flat dicts is shown as a table.
    """

    check: str
    outcome: Outcome
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED

    def to_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "outcome": str(self.outcome),
            "summary": self.summary,
            "evidence": dict(self.evidence),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        return cls(
            check=data["check"],
            outcome=Outcome(data["outcome"]),
            summary=data["summary"],
            evidence=dict(data.get("evidence", {})),
        )


def passed(check: str, summary: str, **evidence: Any) -> Verdict:
    return Verdict(check, Outcome.PASSED, summary, evidence)


def failed(check: str, summary: str, **evidence: Any) -> Verdict:
    return Verdict(check, Outcome.FAILED, summary, evidence)


def inconclusive(check: str, summary: str, **evidence: Any) -> Verdict:
    return Verdict(check, Outcome.INCONCLUSIVE, summary, evidence)


def judge(check: str, ok: bool, summary: str, **evidence: Any) -> Verdict:
    """Passed where `ok`, failed otherwise. For measurements that were made; else use `inconclusive`."""
    return Verdict(check, Outcome.PASSED if ok else Outcome.FAILED, summary, evidence)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a whole: its worst part's. Nothing measured is inconclusive."""
    return max(outcomes, key=_SEVERITY.__getitem__, default=Outcome.INCONCLUSIVE)
