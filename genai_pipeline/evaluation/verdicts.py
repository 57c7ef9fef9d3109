"""From results and gates to verdicts. Pure.

What could not be measured counts as unknown, and a verdict is given only where the unknown cannot change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from genai_pipeline.core.model_spec import AgentGates
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, judge, passed
from genai_pipeline.evaluation.isolation import SessionResult, leaks, remembers
from genai_pipeline.evaluation.runner import CaseResult

REMEMBERING_MIN = 0.5
"""Share of sessions whose follow-up must be about their own place for the isolation to count as tested."""
_SHOWN = 5


def judge_suite(results: Sequence[CaseResult], sessions: Sequence[SessionResult], gates: AgentGates) -> list[Verdict]:
    """The four verdicts of agent_report."""
    return [
        _task_success(results, gates.task_success_min),
        _tool_accuracy(results, gates.tool_accuracy_min),
        _sessions_isolated(sessions),
        _latency(results, gates.latency_p95_s),
    ]


def case_rows(results: Sequence[CaseResult]) -> list[dict[str, Any]]:
    """A flat row per case, as a person reads them."""
    return [_row(result) for result in results]


def percentile_95(seconds: Sequence[float]) -> float:
    """Nearest rank: the smallest value that at least 95 % do not exceed."""
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]


def _row(result: CaseResult) -> dict[str, Any]:
    case, replies = result.case, result.replies
    expected = [f"{tool}({'|'.join(args)})" for turn in case.turns for tool, args in turn.expected]
    wrong = [*(result.answers or []), *(result.calls or [])]
    return {
        "case": case.name,
        "tags": ", ".join(case.tags),
        "prompt": " / ".join(turn.ask for turn in case.turns),
        "expected_tools": ", ".join(expected),
        "called_tools": ", ".join(str(call) for reply in replies for call in reply.calls),
        "response": " / ".join(reply.response or reply.problem for reply in replies),
        "success": {True: "yes", False: "no", None: "not measured"}[result.success],
        "right_tools": "not measured" if result.calls is None else "no" if any(result.calls) else "yes",
        "seconds": round(sum(reply.seconds for reply in replies), 2),
        "reason": result.problem or "; ".join(dict.fromkeys(filter(None, wrong))),
    }


def _task_success(results: Sequence[CaseResult], minimum: float) -> Verdict:
    solved = [result.success for result in results]
    worst = [f"{r.case.name}: {'; '.join(filter(None, r.answers or []))}" for r in results if r.success is False]
    return _rate("task_success", "cases solved", solved, minimum, worst, results)


def _tool_accuracy(results: Sequence[CaseResult], minimum: float) -> Verdict:
    turns = [wrong for r in results for wrong in r.calls or [None] * len(r.case.turns)]
    right = [None if wrong is None else not wrong for wrong in turns]
    worst = [f"{r.case.name}: {'; '.join(filter(None, r.calls))}" for r in results if r.calls and any(r.calls)]
    return _rate("tool_accuracy", "turns with the right tools and arguments", right, minimum, worst, results)


def _rate(
    check: str, what: str, found: Sequence[bool | None], minimum: float, wrong: list[str], results: Sequence[CaseResult]
) -> Verdict:
    """Passed or failed only if it stays so however the unmeasured ones had ended."""
    right, unknown, total = found.count(True), found.count(None), len(found)
    facts = {"right": right, "wrong": found.count(False), "not_measured": unknown, "minimum": minimum}
    if not total:
        return inconclusive(check, "Nothing was asked.", **facts)
    summary = f"{right} of {total} {what} ({right / total:.1%}, at least {minimum:.0%} needed)."
    if wrong:
        summary += f" Wrong: {' | '.join(wrong[:_SHOWN])}{' | …' if len(wrong) > _SHOWN else ''}."
    if unknown:
        reasons = dict.fromkeys(r.problem for r in results if r.problem)
        summary += f" {unknown} not measured: {' | '.join(list(reasons)[:_SHOWN])}."
    if right >= minimum * total - 1e-9:
        return passed(check, summary, **facts)
    if right + unknown < minimum * total - 1e-9:
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
    summary = (
        f"{remembering} of {len(sessions)} sessions, side by side, spoke of their own place and none of another's."
    )
    if not sessions or remembering < REMEMBERING_MIN * len(sessions):
        why = next((s.problem for s in sessions if s.problem), "the follow-ups were not about the session's own place")
        return inconclusive("sessions_isolated", f"{summary} That tests too few: {why}.", **facts)
    return passed("sessions_isolated", summary, **facts)


def _latency(results: Sequence[CaseResult], limit_s: float) -> Verdict:
    """Turns that timed out took at least that long; turns that were never answered may have taken any time."""
    seconds = [reply.seconds for r in results for reply in r.replies] + [r.waited_s for r in results if r.waited_s]
    planned = sum(len(r.case.turns) for r in results)
    unknown = planned - len(seconds)
    if not seconds:
        return inconclusive("latency", "No turn was answered.", limit_s=limit_s)
    p95 = percentile_95(seconds)
    summary = f"95 % of {len(seconds)} turns took at most {p95:.2f} s (limit {limit_s:g} s)."
    facts = {"p95_s": round(p95, 3), "limit_s": limit_s, "turns": len(seconds), "not_measured": unknown}
    at_worst = percentile_95([*seconds, *[math.inf] * unknown])
    at_best = percentile_95([*seconds, *[0.0] * unknown])
    if at_best <= limit_s < at_worst:
        return inconclusive("latency", f"{summary} {unknown} turns were not measured.", **facts)
    return judge("latency", at_worst <= limit_s, summary, **facts)
