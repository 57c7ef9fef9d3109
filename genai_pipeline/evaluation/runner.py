"""Put an agent through a suite: the cases of strands-agents-evals as conversations over HTTP.

Each case has a session of its own; some run side by side. An evaluator that breaks and a case that could not be asked
are kept apart from failures: strands-agents-evals scores both 0.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.evaluation.agent_client import AgentClient, NotMeasured, Reply
from genai_pipeline.evaluation.scorers import wrong_answer, wrong_calls
from genai_pipeline.evaluation.suite import WEATHER_TOOL, ExpectedTurn, Suite, SuiteCase

CONCURRENCY = 4
DEADLINE_S = 900.0
GIVE_UP_AFTER = 5
"""Cases without a measurement, after which the rest is not asked: the agent is down, and each would cost a timeout."""

Progress = Callable[[str], None]
Score = Callable[[Suite, SuiteCase, list[Reply]], list[str]]


@dataclass
class CaseResult:
    """What was found about one case.

    Args:
        answers, calls: what is wrong with each turn, empty strings where nothing is; None if it could not be judged.
        problem: why it could not.
        waited_s: of a request that timed out.
    """

    case: SuiteCase
    replies: list[Reply] = field(default_factory=list[Reply])
    answers: list[str] | None = None
    calls: list[str] | None = None
    problem: str = ""
    waited_s: float = 0.0

    @property
    def success(self) -> bool | None:
        return None if self.answers is None else not any(self.answers)


def score_answers(suite: Suite, case: SuiteCase, replies: list[Reply]) -> list[str]:
    heard: list[str] = []
    found: list[str] = []
    for turn, reply in zip(case.turns, replies, strict=True):
        heard += [place for places in turn.arguments_of(WEATHER_TOOL) for place in places]
        found.append(wrong_answer(turn, reply, suite.weather, heard))
    return found


def score_calls(suite: Suite, case: SuiteCase, replies: list[Reply]) -> list[str]:
    return [wrong_calls(turn, reply) for turn, reply in zip(case.turns, replies, strict=True)]


SCORES: dict[str, Score] = {"answers": score_answers, "calls": score_calls}


def run_suite(
    agent: AgentClient,
    suite: Suite,
    on_progress: Progress,
    concurrency: int = CONCURRENCY,
    deadline_s: float = DEADLINE_S,
    scores: dict[str, Score] = SCORES,
) -> list[CaseResult]:
    """Ask every case and score it; in the suite's order."""
    run = _Run(agent, suite, on_progress, time.monotonic() + deadline_s)
    report = asyncio.run(_experiment(suite, scores).run_evaluations_async(run.ask_case, max_workers=concurrency))
    for row, outputs, reason in zip(report.cases, report.detailed_results, report.reasons, strict=True):
        result = run.results[row["name"]]
        if outputs:
            setattr(result, row["evaluator"], [output.reason or "" for output in outputs])
        elif not result.problem:  # an evaluator's own error, which the library scores 0
            result.problem = reason
    return [run.results[case.name] for case in suite.cases]


class _Run:
    def __init__(self, agent: AgentClient, suite: Suite, on_progress: Progress, ends_at: float) -> None:
        self._agent, self._on_progress, self._ends_at = agent, on_progress, ends_at
        self._lock = threading.Lock()
        self._done = self._lost = 0
        self.results = {case.name: CaseResult(case) for case in suite.cases}

    def ask_case(self, case: Any) -> Any:
        """The task of the experiment: one conversation."""
        result = self.results[case.name]
        session_id = uuid.uuid4().hex
        try:
            for turn in result.case.turns:
                result.replies.append(self._ask(turn, session_id))
        except NotMeasured as error:
            result.problem, result.waited_s = error.reason, error.seconds
            raise
        finally:
            with self._lock:
                self._done += 1
                self._lost += bool(result.problem)
                if self._done % 10 == 0 or self._done == len(self.results):
                    self._on_progress(f"{self._done} of {len(self.results)} cases asked")
        return [reply.to_json() for reply in result.replies]

    def _ask(self, turn: ExpectedTurn, session_id: str) -> Reply:
        if self._lost >= GIVE_UP_AFTER:
            raise NotMeasured(f"not asked: {self._lost} cases before it got no answer")
        if time.monotonic() > self._ends_at:
            raise NotMeasured("not asked: the evaluation's deadline was over")
        return self._agent.ask(turn.ask, session_id)


def _experiment(suite: Suite, scores: dict[str, Score]) -> Any:
    root = logging.getLogger()
    level = root.level
    from strands_evals import Case, Experiment  # slow to import; it also sets the root logger to INFO
    from strands_evals.evaluators import Evaluator
    from strands_evals.types.evaluation import EvaluationData, EvaluationOutput

    root.setLevel(level)
    by_name = {case.name: case for case in suite.cases}

    class TurnEvaluator(Evaluator[str, list[Any]]):
        """One output a turn; its reason says what is wrong."""

        def __init__(self, name: str, score: Score) -> None:
            super().__init__(name=name)
            self._score = score

        def evaluate(self, evaluation_case: EvaluationData[str, list[Any]]) -> list[EvaluationOutput]:
            replies = [Reply.from_json(data) for data in evaluation_case.actual_output or []]
            wrong = self._score(suite, by_name[str(evaluation_case.name)], replies)
            return [EvaluationOutput(score=float(not w), test_pass=not w, reason=w) for w in wrong]

    cases = [Case[str, list[Any]](name=case.name, input=case.turns[0].ask) for case in suite.cases]
    return Experiment(cases=cases, evaluators=[TurnEvaluator(name, score) for name, score in scores.items()])
