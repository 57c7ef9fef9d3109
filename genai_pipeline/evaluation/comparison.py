"""Decide whether one release is worse than another on the same cases: paired, exact, one-sided. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.evaluation.outcome import CaseOutcome
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.statistics import WORSE_ALPHA, mcnemar_worse

CHECK = "not_worse_than_live"
_SHOWN = 5


@dataclass(frozen=True)
class Pair:
    """One case with the outcome of both releases."""

    mine: CaseOutcome
    other: CaseOutcome

    @property
    def lost(self) -> bool:
        return self.mine.solved is False and self.other.solved is True

    @property
    def gained(self) -> bool:
        return self.mine.solved is True and self.other.solved is False

    @property
    def known(self) -> bool:
        return None not in (self.mine.solved, self.other.solved)

    @property
    def may_be_lost(self) -> bool:
        """Return whether the case could be a loss if both were measured."""
        return not self.known and self.mine.solved is not True and self.other.solved is not False

    @property
    def may_be_gained(self) -> bool:
        """Return whether the case could be a gain if both were measured."""
        return not self.known and self.mine.solved is not False and self.other.solved is not True


@dataclass(frozen=True)
class Comparison:
    """Two releases, case by case.

    Args:
        mine: the results of the release that is judged.
        other: the results of the release that it is compared with.
    """

    mine: Results
    other: Results

    @property
    def pairs(self) -> list[Pair]:
        """The cases that both were asked."""
        others = {case.name: case for case in self.other.cases}
        return [Pair(case, others[case.name]) for case in self.mine.cases if case.name in others]

    @property
    def lost(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.lost]

    @property
    def gained(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.gained]

    @property
    def p(self) -> float:
        """The probability that chance alone loses as many cases, of those that were measured."""
        return mcnemar_worse(len(self.lost), len(self.gained))

    def p_between(self) -> tuple[float, float]:
        """Return the smallest and the largest value that `p` could have, had everything been measured."""
        lost, gained = len(self.lost), len(self.gained)
        unlucky = sum(pair.may_be_lost for pair in self.pairs)
        lucky = sum(pair.may_be_gained for pair in self.pairs)
        return mcnemar_worse(lost + unlucky, gained), mcnemar_worse(lost, gained + lucky)


def judge_not_worse(comparison: Comparison, alpha: float = WORSE_ALPHA, against: str = "live") -> Verdict:
    """Return failed if the release is significantly worse, passed if it is not.

    The verdict is inconclusive where the cases that were not measured could change it.

    Args:
        alpha: the largest p-value that counts as worse.
        against: name of the release that it is compared with, at the start of a sentence.
    """
    pairs = comparison.pairs
    known = sum(pair.known for pair in pairs)
    lost, gained = comparison.lost, comparison.gained
    facts: dict[str, Any] = {
        "against": comparison.other.release or against,
        "pairs": known,
        "lost": len(lost),
        "gained": len(gained),
        "not_measured": len(pairs) - known,
        "p_value": round(comparison.p, 5),
        "alpha": alpha,
    }
    if not known:
        why = next((case.reason for case in comparison.other.cases if case.reason), "both were asked no common case")
        return inconclusive(CHECK, f"Nothing could be compared with {against}: {why}.", **facts)
    facts["flipped"] = flipped_rows(comparison)
    summary = (
        f"{against} solves {len(lost)} of {known} cases that this release does not; "
        f"this release solves {len(gained)} that the other one does not. "
        f"One-sided exact McNemar p = {comparison.p:.3g}; worse if p ≤ {alpha:g}."
    )
    if lost:
        summary += f" Lost: {', '.join(pair.mine.name for pair in lost[:_SHOWN])}{', …' if len(lost) > _SHOWN else ''}."
    least, most = comparison.p_between()
    if least > alpha:
        return passed(CHECK, summary, **facts)
    if most <= alpha:
        return failed(CHECK, summary, **facts)
    return inconclusive(CHECK, f"{summary} {len(pairs) - known} cases were not measured on both sides.", **facts)


def flipped_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return a flat row for each case that only one of the two solved, losses first."""
    return [*_rows(comparison.lost, "lost"), *_rows(comparison.gained, "gained")]


def _rows(pairs: list[Pair], what: str) -> Iterator[dict[str, Any]]:
    for pair in pairs:
        wrong = pair.mine if what == "lost" else pair.other
        yield {
            "case": pair.mine.name,
            "flipped": what,
            "solved": solved_runs(pair.mine),
            "live_solved": solved_runs(pair.other),
            "tags": ", ".join(pair.mine.tags),
            "reason": wrong.reason,
        }


def solved_runs(case: CaseOutcome) -> str:
    """Return how many runs solved the case, as `2 of 3 (flaky)`."""
    right = sum(run.solved is True for run in case.runs)
    return f"{right} of {len(case.runs)}" + (" (flaky)" if case.flaky else "")
