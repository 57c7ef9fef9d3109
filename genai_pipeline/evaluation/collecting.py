"""From runs to outcomes: what is kept, shown and compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from genai_pipeline.evaluation.agent_client import Reply
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome
from genai_pipeline.evaluation.runner import CaseRun


def outcomes_of(runs: Sequence[CaseRun]) -> list[CaseOutcome]:
    """A case over its runs, which stand together."""
    grouped = groupby(runs, key=lambda run: run.case)
    return [CaseOutcome(case.name, case.tags, case.weight, tuple(map(_outcome, mine))) for case, mine in grouped]


def _outcome(run: CaseRun) -> RunOutcome:
    replies = run.replies
    return RunOutcome(
        solved=run.success,
        right_tools=run.right_tools,
        reason=reason_of(run),
        seconds=round(sum(reply.seconds for reply in replies) + run.waited_s, 4),
        cycles_s=tuple(round(s, 4) for reply in replies for s in reply.cycles_s),
        input_tokens=sum(reply.input_tokens for reply in replies),
        output_tokens=sum(reply.output_tokens for reply in replies),
        transcript=tuple(_turn(turn.ask, reply) for turn, reply in zip(run.case.turns, replies, strict=False)),
    )


def reason_of(run: CaseRun) -> str:
    """What was wrong, each thing once, or why it was not measured."""
    wrong = [*(run.answers or []), *(run.calls or [])]
    return "; ".join(dict.fromkeys(filter(None, [run.problem, *wrong])))


def _turn(prompt: str, reply: Reply) -> dict[str, Any]:
    calls = [{"name": c.name, "arguments": c.arguments, "status": c.status, "ms": c.ms} for c in reply.calls]
    return {
        "prompt": prompt,
        "response": reply.response or reply.problem,
        "calls": calls,
        "seconds": round(reply.seconds, 4),
    }
