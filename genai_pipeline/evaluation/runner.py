"""Put an agent through a suite: each run of a case is a conversation over HTTP, in a session of its own.

Many run side by side, the first run of every case before any second one. An evaluator that breaks, a judge that fails
and a case that could not be asked are not measured, and never failures.

Not strands-agents-evals, whose Experiment would do the same: it takes 1.3 s of CPU to import, asks in asyncio's default
threads, of which two cores have six (with 8 runs side by side the whole took 30 % longer than its requests, with 16
124 %), scores what could not be asked 0, and runs a case once.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from genai_pipeline.evaluation.agent_client import AgentClient, NotMeasured, Reply
from genai_pipeline.evaluation.scorers import wrong_answer, wrong_calls
from genai_pipeline.evaluation.suite import WEATHER_TOOL, ExpectedTurn, Suite, SuiteCase

CONCURRENCY = 4
DEADLINE_S = 900.0
"""For one run of each case; more runs get as much more."""
GIVE_UP_AFTER = 5
"""Runs without a measurement, after which the rest is not asked: the agent is down, and each would cost a timeout."""

Progress = Callable[[str], None]
Score = Callable[[Suite, SuiteCase, list[Reply]], list[str]]


class Judgement(Protocol):
    """What a judge model said about one answer."""

    @property
    def passed(self) -> bool: ...
    @property
    def reason(self) -> str: ...


class Judge(Protocol):
    """A model that judges free text by a rubric."""

    def about(self) -> dict[str, Any]:
        """Which model, and how it is asked: for the record."""
        ...

    def judge(self, rubric: str, prompt: str, response: str) -> Judgement:
        """Raises: NotMeasured: it did not answer, or not with a judgement."""
        ...


@dataclass
class CaseRun:
    """What was found in one run of a case.

    Args:
        answers, calls: what is wrong with each turn, empty strings where nothing is; None if it could not be judged.
        problem: why it could not.
        waited_s: of a request that timed out.
        number: from 1.
    """

    case: SuiteCase
    replies: list[Reply] = field(default_factory=list[Reply])
    answers: list[str] | None = None
    calls: list[str] | None = None
    problem: str = ""
    waited_s: float = 0.0
    number: int = 1

    @property
    def success(self) -> bool | None:
        return None if self.answers is None else not any(self.answers)

    @property
    def right_tools(self) -> bool | None:
        return None if self.calls is None else not any(self.calls)


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
    repeat: int | None = None,
    judge: Judge | None = None,
) -> list[CaseRun]:
    """Ask and score every run of every case; in the suite's order, the runs of a case together.

    Raises: what `on_progress` raises, once what is under way has been answered.
    """
    runs = [CaseRun(c, number=n) for c in suite.cases for n in range(1, suite.runs_of(c, repeat) + 1)]
    most = max((run.number for run in runs), default=1)
    asking = _Asking(agent, suite, judge, len(runs), on_progress, time.monotonic() + deadline_s * most)
    with ThreadPoolExecutor(concurrency) as pool:
        try:
            list(pool.map(asking.ask, sorted(runs, key=lambda run: run.number)))
        except BaseException:  # interrupted, or superseded by a newer release: what has not begun is not asked
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return runs


class _Asking:
    def __init__(
        self, agent: AgentClient, suite: Suite, judge: Judge | None, total: int, on_progress: Progress, ends_at: float
    ) -> None:
        self._agent, self._suite, self._judge, self._ends_at = agent, suite, judge, ends_at
        self._total, self._on_progress = total, on_progress
        self._lock = threading.Lock()
        self._done = self._lost = 0

    def ask(self, run: CaseRun) -> None:
        """One conversation, and what is wrong about it."""
        session_id = uuid.uuid4().hex
        try:
            for turn in run.case.turns:
                run.replies.append(self._ask(turn, session_id))
        except NotMeasured as error:
            run.problem, run.waited_s = error.reason, error.seconds
        else:
            self._score(run)
        with self._lock:
            self._done += 1
            self._lost += len(run.replies) < len(run.case.turns)
            done = self._done
        if done % 10 == 0 or done == self._total:
            what = "cases" if self._total == len(self._suite.cases) else "runs"
            self._on_progress(f"{done} of {self._total} {what} asked")

    def _ask(self, turn: ExpectedTurn, session_id: str) -> Reply:
        if self._lost >= GIVE_UP_AFTER:
            raise NotMeasured(f"not asked: {self._lost} cases before it got no answer")
        if time.monotonic() > self._ends_at:
            raise NotMeasured("not asked: the evaluation's deadline was over")
        return self._agent.ask(turn.ask, session_id)

    def _score(self, run: CaseRun) -> None:
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


def _judged(judge: Judge, turns: Sequence[ExpectedTurn], replies: Sequence[Reply], wrong: Sequence[str]) -> list[str]:
    """What is wrong, the judge's word included. Facts decide first: what is wrong by them is not asked about."""
    if any(wrong):
        return list(wrong)
    told: list[str] = []
    for turn, reply in zip(turns, replies, strict=True):
        found = judge.judge(turn.rubric, turn.ask, reply.response) if turn.rubric else None
        told.append("" if found is None or found.passed else f"the judge: {found.reason or 'not by the rubric'}")
    return told
