"""Judge what a suite found against the gates. Pure.

What could not be measured is unknown. A verdict is given only where the unknown cannot change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from genai_pipeline.core.gates import AgentGates
from genai_pipeline.core.quantiles import quantile
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.evaluation.agent_suite import AgentCase
from genai_pipeline.evaluation.collecting import outcomes_of
from genai_pipeline.evaluation.isolation import SessionResult, leaks, remembers
from genai_pipeline.evaluation.outcome import CaseOutcome
from genai_pipeline.evaluation.runner import CaseRun
from genai_pipeline.evaluation.statistics import wilson

REMEMBERING_MIN = 0.5
"""Share of sessions whose follow-up must be about their own place for the isolation to count as tested."""
TOOL_CALLING = "tool_calling"
_SHOWN = 5

Found = Sequence[tuple[bool | None, float]]
"""(right, wrong or not measured; how much it counts)."""


def judge_suite(
    runs: Sequence[CaseRun[AgentCase]], sessions: Sequence[SessionResult], gates: AgentGates
) -> list[Verdict]:
    """Return the verdicts of agent_report that need no other release."""
    return [
        judge_success(outcomes_of(runs), gates.task_success_min),
        _tool_accuracy(runs, gates.tool_accuracy_min),
        _sessions_isolated(sessions),
        _latency(runs, gates.latency_p95_s),
    ]


def judge_success(
    cases: Sequence[CaseOutcome],
    minimum: float,
    check: str = "task_success",
    what: str = "cases solved",
    **more: object,
) -> Verdict:
    """Return whether enough cases are solved, each in all of its runs. `minimum` is a share of the weights, 0 to 1."""
    solved = [(case.solved, case.weight) for case in cases]
    flaky = [case.name for case in cases if case.flaky]
    unsolved = [case for case in cases if case.solved is False]
    wrong = [f"{case.name}: {case.reason}{' (flaky)' if case.flaky else ''}" for case in unsolved]
    problems = [case.reason for case in cases if case.solved is None]
    return _rate(check, what, solved, minimum, wrong, problems, flaky=flaky, **more)


def judge_tool_calling(cases: Sequence[CaseOutcome], minimum: float) -> Verdict:
    """Return whether a model's own tool calls are right in enough cases, streamed and not."""
    by_tag = rates_by_tag(cases)
    return judge_success(cases, minimum, TOOL_CALLING, "cases solved, streamed and not", by_tag=by_tag)


def rates_by_tag(cases: Sequence[CaseOutcome]) -> list[dict[str, Any]]:
    """Return a row for each tag: cases, solved, not measured and the share of the measured ones that is solved."""
    rows: list[dict[str, Any]] = []
    for tag in dict.fromkeys(tag for case in cases for tag in case.tags):
        found = [case.solved for case in cases if tag in case.tags]
        measured = [solved for solved in found if solved is not None]
        row: dict[str, Any] = {"tag": tag, "cases": len(found), "solved": found.count(True)}
        row["not_measured"] = found.count(None)
        row["rate"] = round(sum(measured) / len(measured), 4) if measured else None
        rows.append(row)
    return rows


def _tool_accuracy(runs: Sequence[CaseRun[AgentCase]], minimum: float) -> Verdict:
    turns = [(wrong, r.case.weight) for r in runs for wrong in r.calls or [None] * len(r.case.turns)]
    right = [(None if wrong is None else not wrong, weight) for wrong, weight in turns]
    said = [f"{r.case.name}: {'; '.join(filter(None, r.calls))}" for r in runs if r.calls and any(r.calls)]
    wrong, problems = list(dict.fromkeys(said)), [r.problem for r in runs if r.problem]
    return _rate("tool_accuracy", "turns with the right tools and arguments", right, minimum, wrong, problems)


def _rate(
    check: str, what: str, found: Found, minimum: float, wrong: list[str], problems: list[str], **more: object
) -> Verdict:
    """Passed or failed only if it stays so however the unmeasured ones had ended. The interval is of the counts."""
    outcomes = [outcome for outcome, _ in found]
    right, unknown, total = outcomes.count(True), outcomes.count(None), len(found)
    facts = {"right": right, "wrong": outcomes.count(False), "not_measured": unknown, "minimum": minimum, **more}
    if not total:
        return inconclusive(check, "Nothing was asked.", **facts)
    weight = sum(each for _, each in found)
    least = sum(each for outcome, each in found if outcome is True) / weight
    most = 1 - sum(each for outcome, each in found if outcome is False) / weight
    weighted = "" if len({each for _, each in found}) == 1 else " by weight"
    summary = f"{right} of {total} {what} ({least:.1%}{weighted}, at least {minimum:.0%} needed)."
    facts["rate"] = round(least, 4)
    measured = total - unknown
    if measured:
        interval = wilson(right, measured)
        summary += f" 95% interval: {interval}."
        facts |= {"interval_low": round(interval.low, 4), "interval_high": round(interval.high, 4)}
    if wrong:
        summary += f" Wrong: {' | '.join(wrong[:_SHOWN])}{' | …' if len(wrong) > _SHOWN else '.'}"
    if unknown:
        summary += f" {unknown} not measured: {' | '.join(list(dict.fromkeys(problems))[:_SHOWN])}."
    if measured and least >= minimum - 1e-9:
        return passed(check, summary, **facts)
    if most < minimum - 1e-9:
        return failed(check, summary, **facts)
    return inconclusive(check, summary, **facts)


def _sessions_isolated(sessions: Sequence[SessionResult]) -> Verdict:
    places = [session.place for session in sessions]
    found = [leak for s in sessions for leak in leaks(s, [p for p in places if p != s.place])]
    remembering = sum(remembers(session) for session in sessions)
    table = [
        {"place": s.place, "answers": " / ".join(r.response or r.problem for r in s.replies), "problem": s.problem}
        for s in sessions
    ]
    facts = {"sessions": table, "leaks": found, "remembering": remembering}
    if found:
        return failed("sessions_isolated", f"Sessions mix: {' | '.join(found[:_SHOWN])}.", **facts)
    asked = f"{remembering} of {len(sessions)} sessions beside each other"
    summary = f"{asked} remembered their own place, and named no other one."
    if not sessions or remembering < REMEMBERING_MIN * len(sessions):
        why = next((s.problem for s in sessions if s.problem), "the follow-ups were not about the session's own place")
        return inconclusive("sessions_isolated", f"{summary} That tests too few: {why}.", **facts)
    return passed("sessions_isolated", summary, **facts)


def _latency(runs: Sequence[CaseRun[AgentCase]], limit_s: float) -> Verdict:
    """Turns that timed out took at least that long; turns that were never answered may have taken any time."""
    seconds = [reply.seconds for r in runs for reply in r.replies] + [r.waited_s for r in runs if r.waited_s]
    planned = sum(len(r.case.turns) for r in runs)
    unknown = planned - len(seconds)
    if not seconds:
        return inconclusive("latency", "No turn was answered.", limit_s=limit_s)
    p95 = quantile(seconds, 0.95)
    summary = f"95% of {len(seconds)} turns took at most {p95:.2f} s (limit {limit_s:g} s)."
    facts = {"p95_s": round(p95, 3), "limit_s": limit_s, "turns": len(seconds), "not_measured": unknown}
    at_worst = quantile([*seconds, *[math.inf] * unknown], 0.95)
    at_best = quantile([*seconds, *[0.0] * unknown], 0.95)
    if at_best <= limit_s < at_worst:
        return inconclusive("latency", f"{summary} {unknown} turns were not measured.", **facts)
    return judge("latency", at_worst <= limit_s, summary, **facts)
