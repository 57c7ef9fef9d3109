"""Put a release through a suite: hold the conversations of its cases, several side by side, and keep what was found.

The first run of every case comes before any second run. What could not be asked or scored is not measured; it never
counts as a failure. `agent_asker.py` and `endpoint_asker.py` know how a conversation is held and scored.

Why not strands-agents-evals, whose Experiment does the same: it takes 1.3 s of CPU to import, and runs a case once.
It scores a case that could not be asked as 0. It asks in asyncio's default threads, six on two cores. With 8 runs side
by side it took 30 % longer than its requests, with 16 runs 124 %.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Generic

from genai_pipeline.core.progress import Log
from genai_pipeline.evaluation.reply import NotMeasured, Reply
from genai_pipeline.evaluation.suite import Case, Suite

CONCURRENCY = 4
DEADLINE_S = 900.0
"""For one conversation of each case; more conversations get as much more."""


@dataclass(frozen=True)
class RunSettings:
    """How a suite is run.

    Args:
        concurrency: conversations side by side.
        repeat: runs of each case; None: as the gates or the suite say.
        deadline_s: for one conversation of each case.
    """

    concurrency: int = CONCURRENCY
    repeat: int | None = None
    deadline_s: float = DEADLINE_S


@dataclass
class CaseRun(Generic[Case]):
    """What was found in one conversation.

    Args:
        answers, calls: what is wrong about each turn, empty where nothing is, or None if that was not measured.
        problem: why it was not measured.
        waited_s: for a request that timed out.
        number: which run of the case, from 1.
        way: how it was asked; each way of a run must be right.
    """

    case: Case
    replies: list[Reply] = field(default_factory=list[Reply])
    answers: list[str] | None = None
    calls: list[str] | None = None
    problem: str = ""
    waited_s: float = 0.0
    number: int = 1
    way: str = ""

    @property
    def success(self) -> bool | None:
        return None if self.answers is None else not any(self.answers)

    @property
    def right_tools(self) -> bool | None:
        return None if self.calls is None else not any(self.calls)

    @property
    def reason(self) -> str:
        """Return what was wrong, each thing once, or why the case was not measured."""
        told = list(self.answers or [])
        told += [wrong for wrong in self.calls or [] if not any(wrong in answer for answer in told)]
        return "; ".join(dict.fromkeys(filter(None, [self.problem, *told])))


class Asker(ABC, Generic[Case]):
    """Holds and scores the conversations of one kind of suite. Used from many threads at once."""

    ways: tuple[str, ...] = ("",)
    """How each run of a case is asked, in words."""
    give_up_after: int = 5
    """Conversations in a row without a measurement, after which the rest is not asked: each would cost a time-out."""

    @abstractmethod
    def hold(self, run: CaseRun[Case]) -> None:
        """Hold the conversation and put what was found into `run`. Raises: NotMeasured: it got no answer."""

    def about(self) -> Mapping[str, Any]:
        """Return fields of `Results` that say how it was asked."""
        return {}


def planned_runs(
    suite: Suite[Case], repeat: int | None = None, ways: tuple[str, ...] = ("",), problem: str = ""
) -> list[CaseRun[Case]]:
    """Return every conversation in the suite's order, those of a case together."""
    numbered = [(case, number) for case in suite.cases for number in range(1, suite.runs_of(case, repeat) + 1)]
    return [CaseRun(case, number=number, way=way, problem=problem) for case, number in numbered for way in ways]


def run_suite(
    asker: Asker[Case],
    suite: Suite[Case],
    settings: RunSettings | None = None,
    on_progress: Log = lambda message: None,
) -> list[CaseRun[Case]]:
    """Hold and score every conversation; in the suite's order, those of a case together.

    Raises: what `on_progress` raises, once what is under way has been answered.
    """
    settings = settings or RunSettings()
    runs = planned_runs(suite, settings.repeat, asker.ways)
    most = max((run.number for run in runs), default=1) * len(asker.ways)
    under_way = _UnderWay(asker, len(runs), on_progress, time.monotonic() + settings.deadline_s * most)
    with ThreadPoolExecutor(max(1, settings.concurrency)) as pool:
        try:
            list(pool.map(under_way.hold, sorted(runs, key=lambda run: run.number)))
        except BaseException:  # interrupted, or superseded by a newer release: what has not begun is not asked
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return runs


class _UnderWay(Generic[Case]):
    """One pass through a suite: how much of it is done, and whether going on makes sense."""

    def __init__(self, asker: Asker[Case], total: int, on_progress: Log, ends_at: float) -> None:
        self._asker, self._total, self._on_progress, self._ends_at = asker, total, on_progress, ends_at
        self._lock = threading.Lock()
        self._done = self._lost = 0

    def hold(self, run: CaseRun[Case]) -> None:
        lost = False
        try:
            self._refuse_in_vain()
            self._asker.hold(run)
        except NotMeasured as error:
            run.problem, run.waited_s, lost = error.reason, error.seconds, True
        with self._lock:
            self._done += 1
            self._lost = self._lost + 1 if lost else 0
            done = self._done
        if done % 10 == 0 or done == self._total:
            self._on_progress(f"{done} of {self._total} conversations held")

    def _refuse_in_vain(self) -> None:
        most = self._asker.give_up_after
        if self._lost >= most:
            raise NotMeasured(f"not asked: {most} conversations in a row before it got no answer")
        if time.monotonic() > self._ends_at:
            raise NotMeasured("not asked: the evaluation's deadline was over")
