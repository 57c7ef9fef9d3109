"""Verdicts: what a check found, with the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The outcome of a check. `failed` is worse than `inconclusive`; an error while measuring never passes."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


_SEVERITY = {Outcome.PASSED: 0, Outcome.INCONCLUSIVE: 1, Outcome.FAILED: 2}


@dataclass(frozen=True)
class Verdict:
    """One check's outcome.

    Args:
        check: name of the check without its asset, for example `ttft_p95`.
        outcome: passed, failed or inconclusive.
        summary: one sentence with the value and the limit, for a person.
        evidence: values that JSON can hold. A list of flat dicts is shown as a table.
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


@dataclass(frozen=True)
class Asked:
    """One question to a live agent, and its result.

    Args:
        right: None if it could not be judged.
        said: what was wrong, or why it could not be judged.
    """

    case: str
    right: bool | None
    said: str


def passed(check: str, summary: str, **evidence: Any) -> Verdict:
    return Verdict(check, Outcome.PASSED, summary, evidence)


def failed(check: str, summary: str, **evidence: Any) -> Verdict:
    return Verdict(check, Outcome.FAILED, summary, evidence)


def inconclusive(check: str, summary: str, **evidence: Any) -> Verdict:
    return Verdict(check, Outcome.INCONCLUSIVE, summary, evidence)


def judge(check: str, ok: bool, summary: str, **evidence: Any) -> Verdict:
    """Return a verdict on something that was measured: passed if `ok`, else failed."""
    return Verdict(check, Outcome.PASSED if ok else Outcome.FAILED, summary, evidence)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst outcome. Without any outcome it is inconclusive."""
    return max(outcomes, key=_SEVERITY.__getitem__, default=Outcome.INCONCLUSIVE)
