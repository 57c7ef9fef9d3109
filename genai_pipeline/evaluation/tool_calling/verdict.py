"""From outcomes of a tool-calling suite to a verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.evaluation.outcome import CaseOutcome

CHECK = "tool_calling"
_SHOWN = 5


def judge_tool_calling(outcomes: Sequence[CaseOutcome], minimum: float) -> Verdict:
    """Passed or failed only if it stays so however the unmeasured cases had ended. Cases count by weight."""
    total = sum(case.weight for case in outcomes)
    right = sum(case.weight for case in outcomes if case.solved)
    unknown = sum(case.weight for case in outcomes if case.solved is None)
    facts: dict[str, Any] = {
        "cases": len(outcomes),
        "solved": sum(case.solved is True for case in outcomes),
        "not_measured": sum(case.solved is None for case in outcomes),
        "flaky": sum(case.flaky for case in outcomes),
        "minimum": minimum,
        "by_tag": rates_by_tag(outcomes),
    }
    if not total:
        return inconclusive(CHECK, "Nothing was asked.", **facts)
    summary = f"{facts['solved']} of {len(outcomes)} cases solved, streamed and not"
    summary += f" ({right / total:.1%}, at least {minimum:.0%} needed)."
    summary += _told("Wrong", [f"{c.name}: {c.reason}" for c in outcomes if c.solved is False])
    reasons = dict.fromkeys(case.reason for case in outcomes if case.solved is None)
    summary += _told(f"{facts['not_measured']} not measured", list(reasons))
    if right >= minimum * total - 1e-9:
        return passed(CHECK, summary, **facts)
    if right + unknown < minimum * total - 1e-9:
        return failed(CHECK, summary, **facts)
    return inconclusive(CHECK, summary, **facts)


def not_asked() -> Verdict:
    """What stands in the record where the model file has no such gate."""
    return passed(CHECK, "`gates.agent.tool_calling_min` is not set: not asked for")


def rates_by_tag(outcomes: Sequence[CaseOutcome]) -> list[dict[str, Any]]:
    """Per tag: cases, solved, not measured and the share of the measured ones that is solved."""
    rows: list[dict[str, Any]] = []
    for tag in dict.fromkeys(tag for case in outcomes for tag in case.tags):
        found = [case.solved for case in outcomes if tag in case.tags]
        measured = [solved for solved in found if solved is not None]
        rate = round(sum(measured) / len(measured), 4) if measured else None
        rows.append(
            {
                "tag": tag,
                "cases": len(found),
                "solved": found.count(True),
                "not_measured": found.count(None),
                "rate": rate,
            }
        )
    return rows


def _told(what: str, reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    return f" {what}: {' | '.join(reasons[:_SHOWN])}{' | …' if len(reasons) > _SHOWN else ''}."
