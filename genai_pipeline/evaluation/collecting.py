"""Turn the conversations that were held into outcomes, and into rows for a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from genai_pipeline.evaluation.agent_suite import AgentCase
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome, all_right
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.runner import CaseRun

_SAID = {True: "yes", False: "no", None: "not measured"}


def outcomes_of(runs: Sequence[CaseRun[Any]]) -> list[CaseOutcome]:
    """Return a case over its runs; those of a case must stand together."""
    found: list[CaseOutcome] = []
    for case, group in groupby(runs, key=lambda run: run.case):
        numbered = groupby(group, key=lambda run: run.number)
        outcomes = tuple(_outcome(list(ways)) for _, ways in numbered)
        found.append(CaseOutcome(case.name, case.tags, case.weight, outcomes))
    return found


def _outcome(ways: Sequence[CaseRun[Any]]) -> RunOutcome:
    """One run of a case: right only if it was right whichever way it was asked."""
    replies = [reply for run in ways for reply in run.replies]
    return RunOutcome(
        solved=all_right(run.success for run in ways),
        right_tools=all_right(run.right_tools for run in ways),
        reason=_reason(ways),
        seconds=round(sum(reply.seconds for reply in replies) + sum(run.waited_s for run in ways), 4),
        cycles_s=tuple(round(s, 4) for reply in replies for s in reply.cycles_s),
        input_tokens=sum(reply.input_tokens for reply in replies),
        output_tokens=sum(reply.output_tokens for reply in replies),
        transcript=tuple(reply.to_json() for reply in replies),
    )


def _reason(ways: Sequence[CaseRun[Any]]) -> str:
    """Return the reasons. When the ways differ, each reason names its way."""
    if len({run.reason for run in ways}) == 1:
        return ways[0].reason
    return "; ".join(f"{run.way}: {run.reason}" for run in ways if run.reason)


def case_rows(runs: Sequence[CaseRun[AgentCase]], results: Results) -> list[dict[str, Any]]:
    """Return a row for each case. Where its runs differ, it shows the conversation of one that was not right."""
    found = {case.name: case for case in results.cases}
    rows: list[dict[str, Any]] = []
    for case, group in groupby(runs, key=lambda run: run.case):
        mine, outcome = list(group), found[case.name]
        shown = min(mine, key=lambda run: (run.success is not False, run.right_tools is not False, run.number))
        expected = [f"{tool}({'|'.join(args)})" for turn in case.turns for tool, args in turn.expected]
        row = {
            "case": case.name,
            "tags": ", ".join(case.tags),
            "prompt": " / ".join(turn.ask for turn in case.turns),
            "expected_tools": ", ".join(expected),
            "called_tools": ", ".join(str(call) for reply in shown.replies for call in reply.calls),
            "response": " / ".join(reply.response or reply.problem for reply in shown.replies),
            "success": _SAID[outcome.solved],
            "right_tools": _SAID[all_right(run.right_tools for run in mine)],
            "runs": f"{sum(run.success is True for run in mine)} of {len(mine)}",
            "flaky": "flaky" if outcome.flaky else "",
            "seconds": round(outcome.seconds, 2),
            "cycles_s": " ".join(f"{seconds:.2f}" for reply in shown.replies for seconds in reply.cycles_s),
            "tokens": sum(outcome.tokens),
            "reason": " | ".join(dict.fromkeys(run.reason for run in mine if run.reason)),
        }
        cost = results.cost_usd(outcome)
        rows.append(row if cost is None else row | {"cost_usd": round(cost, 6)})
    return rows
