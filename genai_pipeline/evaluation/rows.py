"""Results as flat rows, as a person reads them in a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from genai_pipeline.evaluation.collecting import reason_of
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.runner import CaseRun

_SAID = {True: "yes", False: "no", None: "not measured"}


def case_rows(runs: Sequence[CaseRun], results: Results) -> list[dict[str, Any]]:
    """A row for each case. Where its runs differ, it shows what was asked and said in one that was not right."""
    found = {case.name: case for case in results.cases}
    rows: list[dict[str, Any]] = []
    for case, group in groupby(runs, key=lambda run: run.case):
        mine, outcome = list(group), found[case.name]
        shown = min(mine, key=lambda run: (run.success is not False, run.right_tools is not False, run.number))
        tools = {run.right_tools for run in mine}
        expected = [f"{tool}({'|'.join(args)})" for turn in case.turns for tool, args in turn.expected]
        row = {
            "case": case.name,
            "tags": ", ".join(case.tags),
            "prompt": " / ".join(turn.ask for turn in case.turns),
            "expected_tools": ", ".join(expected),
            "called_tools": ", ".join(str(call) for reply in shown.replies for call in reply.calls),
            "response": " / ".join(reply.response or reply.problem for reply in shown.replies),
            "success": _SAID[outcome.solved],
            "right_tools": _SAID[False if False in tools else None if None in tools else True],
            "runs": f"{sum(run.success is True for run in mine)} of {len(mine)}",
            "flaky": "flaky" if outcome.flaky else "",
            "seconds": round(outcome.seconds, 2),
            "cycles_s": " ".join(f"{seconds:.2f}" for seconds in outcome_cycles(shown)),
            "tokens": sum(outcome.tokens),
            "reason": " | ".join(dict.fromkeys(filter(None, map(reason_of, mine)))),
        }
        cost = results.cost_usd(outcome)
        rows.append(row if cost is None else row | {"cost_usd": round(cost, 6)})
    return rows


def outcome_cycles(run: CaseRun) -> list[float]:
    """Seconds of each request to the model in a run."""
    return [seconds for reply in run.replies for seconds in reply.cycles_s]
