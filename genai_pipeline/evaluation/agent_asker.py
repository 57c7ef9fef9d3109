"""Ask an agent: each conversation over HTTP, in a session of its own. An evaluator that breaks has measured nothing."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genai_pipeline.evaluation.agent_client import AgentClient
from genai_pipeline.evaluation.agent_scoring import score_answers, score_calls
from genai_pipeline.evaluation.agent_suite import AgentCase, AgentSuite, AgentTurn
from genai_pipeline.evaluation.llm_judge import LlmJudge
from genai_pipeline.evaluation.reply import NotMeasured, Reply
from genai_pipeline.evaluation.runner import Asker, CaseRun

SCORES: dict[str, Callable[[AgentSuite, AgentCase, Sequence[Reply]], list[str]]] = {
    "answers": score_answers,
    "calls": score_calls,
}


class AgentAsker(Asker[AgentCase]):
    """Puts the cases of a suite to one agent.

    Args:
        judge: a model that judges turns with a `rubric`; None: they are not judged.
    """

    def __init__(self, agent: AgentClient, suite: AgentSuite, judge: LlmJudge | None = None) -> None:
        self._agent, self._suite, self._judge = agent, suite, judge

    def about(self) -> Mapping[str, Any]:
        return {"judge": self._judge.about() if self._judge else None}

    def hold(self, run: CaseRun[AgentCase]) -> None:
        session_id = uuid.uuid4().hex
        for turn in run.case.turns:
            run.replies.append(self._agent.ask(turn.ask, session_id))
        for name, score in SCORES.items():
            try:
                setattr(run, name, score(self._suite, run.case, run.replies))
            except Exception as error:  # an evaluator's own mistake says nothing about the agent
                run.problem = f"the evaluator of {name} broke: {error!r}"
        if self._judge and run.answers is not None:
            try:
                run.answers = _judged(self._judge, run.case.turns, run.replies, run.answers)
            except NotMeasured as error:
                run.answers, run.problem = None, f"not judged: {error.reason}"


def _judged(judge: LlmJudge, turns: Sequence[AgentTurn], replies: Sequence[Reply], wrong: Sequence[str]) -> list[str]:
    """Return what is wrong, with the judge's word. Facts decide first: the judge is only asked about right answers."""
    if any(wrong):
        return list(wrong)
    told: list[str] = []
    for turn, reply in zip(turns, replies, strict=True):
        found = judge.judge(turn.rubric, turn.ask, reply.response) if turn.rubric else None
        told.append("" if found is None or found.passed else f"the judge: {found.reason or 'not by the rubric'}")
    return told
