"""Is one release worse than another on the same cases? Paired, exact, one-sided. Pure."""

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
    """One case as both had it."""

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
        """Whatever was not measured could have made it a loss."""
        return not self.known and self.mine.solved is not True and self.other.solved is not False

    @property
    def may_be_gained(self) -> bool:
        return not self.known and self.mine.solved is not False and self.other.solved is not True


@dataclass(frozen=True)
class Comparison:
    """Two releases, case by case.

    Args:
        mine: of the release that is judged.
        other: of the one that it is held against.
    """

    mine: Results
    other: Results

    @property
    def pairs(self) -> list[Pair]:
        """Cases that both were asked."""
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
        """How likely chance alone would lose as many, of what was measured."""
        return mcnemar_worse(len(self.lost), len(self.gained))

    def p_between(self) -> tuple[float, float]:
        """The smallest and the largest that `p` could be, had everything been measured."""
        lost, gained = len(self.lost), len(self.gained)
        unlucky = sum(pair.may_be_lost for pair in self.pairs)
        lucky = sum(pair.may_be_gained for pair in self.pairs)
        return mcnemar_worse(lost + unlucky, gained), mcnemar_worse(lost, gained + lucky)


def judge_not_worse(comparison: Comparison, alpha: float = WORSE_ALPHA, against: str = "live") -> Verdict:
    """Failed if it is significantly worse, whatever the unmeasured cases had been; passed if it is not."""
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
        why = next((case.reason for case in comparison.other.cases if case.reason), "no case was asked of both")
        return inconclusive(CHECK, f"Nothing could be compared with {against}: {why}.", **facts)
    facts["flipped"] = flipped_rows(comparison)
    summary = (
        f"Of {known} cases {len(lost)} are solved by {against} and no longer, {len(gained)} the other way round "
        f"(one-sided exact McNemar p = {comparison.p:.3g}, worse at {alpha:g} or below)."
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
    """A flat row for each case that one solved and the other did not, losses first."""
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
    """As people read it: `2 of 3 (flaky)`."""
    right = sum(run.solved is True for run in case.runs)
    return f"{right} of {len(case.runs)}" + (" (flaky)" if case.flaky else "")
