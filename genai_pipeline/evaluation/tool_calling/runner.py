"""Put a model through a suite of tool calls: every case streamed and not, since an engine parses the two differently.

A case is solved by a run only if both ways solved it. The model's own words go back to it as the history of a
conversation; after a wrong step the rest of the case is not asked.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.evaluation.agent_client import NotMeasured
from genai_pipeline.evaluation.outcome import CaseOutcome, RunOutcome
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.tool_calling.endpoint import Answer, Declined, Endpoint
from genai_pipeline.evaluation.tool_calling.scoring import raw_call, score_calls, score_text, shown_calls
from genai_pipeline.evaluation.tool_calling.suite import Step, ToolCase, ToolSuite

CONCURRENCY = 8
TIMEOUT_S = 60.0
DEADLINE_S = 1800.0
GIVE_UP_AFTER = 10
"""Conversations in a row without a measurement, after which the rest is not asked: each would cost a time-out."""

Progress = Callable[[str], None]


@dataclass
class _Way:
    """A case asked one way. `calls_right` and `wrong` are about the steps that were asked."""

    streamed: bool
    wrong: str = ""
    calls_right: bool | None = True
    problem: str = ""
    answers: list[Answer] = field(default_factory=list[Answer])
    waited_s: float = 0.0
    transcript: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def solved(self) -> bool | None:
        return False if self.wrong else None if self.problem else True

    @property
    def told(self) -> str:
        return self.wrong or self.problem


def run_tool_calling(
    base_url: str,
    model: str,
    suite: ToolSuite,
    concurrency: int = CONCURRENCY,
    repeat: int | None = None,
    on_progress: Progress = lambda message: None,
    api_key: str = "",
    timeout_s: float = TIMEOUT_S,
    deadline_s: float = DEADLINE_S,
) -> list[CaseOutcome]:
    """Ask every case, in the suite's order. What could not be measured says why, and raises nothing.

    Args:
        base_url: of an OpenAI-compatible endpoint, with or without `/v1`.
        concurrency: conversations at once.
        repeat: how often each case is run; None: as the suite says.
        timeout_s: for one answer; `deadline_s` for all of them.
    """
    return asyncio.run(
        _Run(suite, repeat, on_progress, time.monotonic() + deadline_s).outcomes(
            base_url, model, api_key, max(1, concurrency), timeout_s
        )
    )


def measure_tool_calls(
    base_url: str,
    model: str,
    suite: ToolSuite,
    concurrency: int = CONCURRENCY,
    repeat: int | None = None,
    on_progress: Progress = lambda message: None,
) -> Results:
    """What `run_tool_calling` finds, as results to keep and compare; whose they are is for the caller to say."""
    at, started = utc_now(), time.monotonic()
    cases = run_tool_calling(base_url, model, suite, concurrency, repeat, on_progress)
    return Results(
        suite=suite.name,
        digest=suite.digest,
        cases=tuple(cases),
        at=at,
        seconds=round(time.monotonic() - started, 3),
        concurrency=concurrency,
        sampling={"temperature": 0.0, "seed": suite.seed},
    )


class _Run:
    def __init__(self, suite: ToolSuite, repeat: int | None, on_progress: Progress, ends_at: float) -> None:
        self._suite, self._repeat, self._on_progress, self._ends_at = suite, repeat, on_progress, ends_at
        self._done = self._lost = 0

    async def outcomes(
        self, base_url: str, model: str, api_key: str, concurrency: int, timeout_s: float
    ) -> list[CaseOutcome]:
        suite = self._suite
        fixed = {"temperature": 0, "seed": suite.seed, "max_tokens": suite.max_tokens}
        runs = [
            (case, [(_Way(False), _Way(True)) for _ in range(suite.runs_of(case, self._repeat))])
            for case in suite.cases
        ]
        ways = [(case, way) for case, pairs in runs for pair in pairs for way in pair]
        async with Endpoint(base_url, model, api_key, concurrency, timeout_s, fixed) as endpoint:
            waiting = iter(ways)
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(concurrency, len(ways))):
                    workers.create_task(self._work(endpoint, waiting, len(ways)))
        return [
            CaseOutcome(case.name, case.tags, case.weight, tuple(_together(*pair) for pair in pairs))
            for case, pairs in runs
        ]

    async def _work(self, endpoint: Endpoint, waiting: Iterator[tuple[ToolCase, _Way]], total: int) -> None:
        for case, way in waiting:
            try:
                self._refuse_in_vain()
                await self._converse(endpoint, case, way)
                self._lost = 0
            except NotMeasured as error:
                way.problem, way.waited_s = error.reason, error.seconds
                self._lost += 1
            self._done += 1
            if self._done % 20 == 0 or self._done == total:
                self._on_progress(f"{self._done} of {total} conversations held")

    def _refuse_in_vain(self) -> None:
        if self._lost >= GIVE_UP_AFTER:
            raise NotMeasured(f"not asked: {GIVE_UP_AFTER} conversations in a row before it got no answer")
        if time.monotonic() > self._ends_at:
            raise NotMeasured("not asked: the evaluation's deadline was over")

    async def _converse(self, endpoint: Endpoint, case: ToolCase, way: _Way) -> None:
        tools = self._suite.as_sent(case.tools)
        messages: list[dict[str, Any]] = [{"role": "system", "content": case.system or self._suite.system}]
        results: list[dict[str, Any]] = []
        for step in case.turns:
            messages += results + ([{"role": "user", "content": step.ask}] if step.ask else [])
            try:
                answer = await endpoint.ask(messages, tools, way.streamed)
            except Declined as declined:
                way.wrong, way.calls_right = str(declined), False
                return
            way.answers.append(answer)
            matched = self._score(case, step, answer, way)
            if way.wrong:
                return
            messages.append(_as_history(answer))
            results = _results(answer, step, matched)

    def _score(self, case: ToolCase, step: Step, answer: Answer, way: _Way) -> list[int]:
        """Note what is wrong; return which call met which expectation."""
        found = score_calls(self._suite, case.tools, step, answer.calls)
        cut = f"cut off at {self._suite.max_tokens} tokens (`max_tokens` of the suite)"
        wrong = [cut] if answer.finish == "length" else []
        if raw := raw_call(answer.text):  # says why nothing was called
            wrong.append(raw)
        else:
            wrong += found.wrong + score_text(step, answer.text, bool(answer.calls))
        at = f"step {len(way.answers)}: " if wrong and len(case.turns) > 1 else ""
        way.wrong, way.calls_right = at + "; ".join(wrong), not found.wrong and not raw
        turn = {"prompt": step.ask or "", "response": answer.text, "calls": shown_calls(answer.calls)}
        way.transcript.append(turn | {"streamed": way.streamed, "finish": answer.finish})
        return found.matched


def _as_history(answer: Answer) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}
        for call in answer.calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or (None if calls else "")}
    return message | ({"tool_calls": calls} if calls else {})


def _results(answer: Answer, step: Step, matched: Sequence[int]) -> list[dict[str, Any]]:
    """A tool message for every call, in the order of the calls; tolerated ones get an empty answer."""
    if not answer.calls:
        return []
    results = {call: step.results[wanted] for wanted, call in enumerate(matched)} if step.results else {}
    return [
        {"role": "tool", "tool_call_id": call.id, "content": _content(results.get(index, ""))}
        for index, call in enumerate(answer.calls)
    ]


def _content(result: Any) -> str:
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def _together(whole: _Way, streamed: _Way) -> RunOutcome:
    """One run of a case: right only if both ways are; what differs between them is said."""
    ways = (whole, streamed)
    answers = [answer for way in ways for answer in way.answers]
    return RunOutcome(
        solved=_both([way.solved for way in ways]),
        right_tools=_both([None if way.problem and not way.wrong else way.calls_right for way in ways]),
        reason=_reason(whole, streamed),
        seconds=sum(answer.seconds for answer in answers) + sum(way.waited_s for way in ways),
        cycles_s=tuple(answer.seconds for answer in answers),
        input_tokens=sum(answer.input_tokens for answer in answers),
        output_tokens=sum(answer.output_tokens for answer in answers),
        transcript=tuple(turn for way in ways for turn in way.transcript),
    )


def _reason(whole: _Way, streamed: _Way) -> str:
    if whole.told == streamed.told:
        return whole.told
    named = [("not streamed", whole.told), ("streamed", streamed.told)]
    return "; ".join(f"{way}: {told}" for way, told in named if told)


def _both(found: list[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True
