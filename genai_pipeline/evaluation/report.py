"""Evaluate an agent: the one door to this package. Called by assets/agent_report.py and `genai evaluate`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.gates import AgentGates
from genai_pipeline.core.numbers import quantile
from genai_pipeline.core.verdict import Verdict, passed
from genai_pipeline.evaluation.agent_client import TIMEOUT_S, AgentClient, NotMeasured
from genai_pipeline.evaluation.collecting import outcomes_of
from genai_pipeline.evaluation.comparison import CHECK, Comparison, judge_not_worse
from genai_pipeline.evaluation.isolation import SessionResult, run_isolation
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.rows import case_rows
from genai_pipeline.evaluation.runner import CONCURRENCY, CaseRun, Judge, Progress, run_suite
from genai_pipeline.evaluation.suite import Suite, load_suite
from genai_pipeline.evaluation.truth import with_weather_of
from genai_pipeline.evaluation.verdicts import judge_suite


@dataclass(frozen=True)
class Asking:
    """How an agent is asked.

    Args:
        weather_url: the agent's own weather service, which then says what is right; None: the suite's table does.
        timeout_s: for one turn.
        concurrency: runs side by side.
        repeat: runs of each case; None: as the suite says.
        judge: a model that judges turns with a `rubric`; None: nobody does.
    """

    weather_url: str | None = None
    timeout_s: float = TIMEOUT_S
    concurrency: int = CONCURRENCY
    repeat: int | None = None
    judge: Judge | None = None


@dataclass(frozen=True)
class Against:
    """What a release is held against.

    Args:
        release: the one that is live; None: nothing is.
        agent_url: its address, where the same cases are asked if its stored results are of others.
        stored: what it did when it was asked last.
        itself: the release in hand is the live one.
        keep: takes the results that had to be asked for.
    """

    release: str | None
    agent_url: str = ""
    stored: Results | None = None
    itself: bool = False
    keep: Callable[[Results], object] = lambda results: None


@dataclass(frozen=True)
class AgentReport:
    """The verdicts of agent_report, a flat row per case, and the figures they rest on."""

    verdicts: list[Verdict]
    cases: list[dict[str, Any]]
    summary: dict[str, Any]
    results: Results | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        return {"verdicts": [v.to_json() for v in self.verdicts], "cases": self.cases, "summary": self.summary}


@dataclass
class _Found:
    """What asking gave."""

    runs: list[CaseRun]
    sessions: list[SessionResult]
    results: Results = field(init=False)


def evaluate(
    agent_url: str,
    suite: str | Suite,
    gates: AgentGates,
    on_progress: Progress = lambda message: None,
    weather_url: str | None = None,
    timeout_s: float = TIMEOUT_S,
    *,
    concurrency: int = CONCURRENCY,
    judge: Judge | None = None,
    against: Against | None = None,
    usd_per_million_tokens: float | None = None,
) -> AgentReport:
    """Put the agent through the suite. An agent that cannot be reached makes every verdict inconclusive.

    Args:
        suite: a suite, the name of one in `suites/`, or the path of one.
        weather_url, timeout_s, concurrency, judge: see Asking.
        against: adds the verdict `not_worse_than_live`; None: it is held against nothing.
        usd_per_million_tokens: price of generated tokens, where one is known.
    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    asking = Asking(weather_url, timeout_s, concurrency, gates.repeat, judge)
    whole = load_suite(suite) if isinstance(suite, str) else suite
    found = _ask(agent_url, whole, on_progress, asking, isolation=True)
    found.results = replace(found.results, usd_per_million_tokens=usd_per_million_tokens)
    verdicts, comparison = judge_suite(found.runs, found.sessions, gates), None
    if against:
        comparison = _compared(found.results, whole, on_progress, asking, against)
        verdicts.append(_not_worse(comparison, gates.worse_than_live_alpha, against))
    rows = case_rows(found.runs, found.results)
    return AgentReport(verdicts, rows, _summary(found), found.results, comparison)


def measure(agent_url: str, suite: Suite, on_progress: Progress, asking: Asking) -> Results:
    """Only the cases, without verdicts: what one release did, to hold another one against it."""
    return _ask(agent_url, suite, on_progress, asking, isolation=False).results


def _ask(agent_url: str, whole: Suite, on_progress: Progress, asking: Asking, isolation: bool) -> _Found:
    at, started = utc_now(), time.monotonic()
    suite, sessions = whole, list[SessionResult]()
    with AgentClient(agent_url, asking.timeout_s, max(asking.concurrency, len(whole.isolation.places))) as agent:
        try:
            suite = with_weather_of(whole, asking.weather_url) if asking.weather_url else whole
            agent.reach()
        except NotMeasured as error:
            found = _unreached(suite, error.reason, asking.repeat)
        else:
            if isolation:
                sessions = run_isolation(agent, suite.isolation)
                on_progress(f"{len(sessions)} sessions asked side by side")
            runs = run_suite(agent, suite, on_progress, asking.concurrency, repeat=asking.repeat, judge=asking.judge)
            found = _Found(runs, sessions)
    found.results = Results(
        suite=whole.name,
        digest=whole.digest,
        cases=tuple(outcomes_of(found.runs)),
        at=at,
        seconds=round(time.monotonic() - started, 3),
        concurrency=asking.concurrency,
        judge=asking.judge.about() if asking.judge else None,
        versions={"genai_pipeline": _version()},
    )
    return found


def _version() -> str | None:
    try:
        return metadata.version("genai-pipeline")
    except metadata.PackageNotFoundError:  # code that was only put on the path
        return None


def _unreached(suite: Suite, reason: str, repeat: int | None) -> _Found:
    numbered = [(case, n) for case in suite.cases for n in range(1, suite.runs_of(case, repeat) + 1)]
    runs = [CaseRun(case, problem=reason, number=n) for case, n in numbered]
    return _Found(runs, [SessionResult(place, "", problem=reason) for place in suite.isolation.places])


def _compared(
    mine: Results, suite: Suite, on_progress: Progress, asking: Asking, against: Against
) -> Comparison | None:
    """Held against the stored results of what is live, or against its answers to the same cases now."""
    if against.release is None or against.itself:
        return None
    why = against.stored.why_not_like(mine) if against.stored else "there are none"
    if against.stored and not why and against.stored.measured == len(against.stored.cases):
        return Comparison(mine, against.stored)
    why = why or "not all of them was measured"
    on_progress(f"the stored results of {against.release} cannot be compared ({why}): its agent is asked now")
    gently = replace(asking, concurrency=min(asking.concurrency, CONCURRENCY))  # others are being served by it
    asked = replace(measure(against.agent_url, suite, on_progress, gently), release=against.release)
    if asked.measured == len(asked.cases):
        against.keep(asked)
    return Comparison(mine, asked)


def _not_worse(comparison: Comparison | None, alpha: float, against: Against) -> Verdict:
    if comparison is None:
        why = "It is live itself" if against.itself else "Nothing is live"
        return passed(CHECK, f"{why}: there is nothing to be worse than.")
    return judge_not_worse(comparison, alpha, f"{against.release}, which is live,")


def _summary(found: _Found) -> dict[str, Any]:
    """Figures of the whole, which the record keeps and the UI shows."""
    results = found.results
    replies = [reply for run in found.runs for reply in run.replies]
    seconds = [reply.seconds for reply in replies]
    cycles = [s for reply in replies for s in reply.cycles_s]
    right = [not wrong for run in found.runs for wrong in run.calls or []]
    costs = [cost for case in results.cases if (cost := results.cost_usd(case)) is not None]
    return {
        "suite": results.suite,
        "suite_digest": results.digest[:12],
        "cases": len(results.cases),
        "runs": len(found.runs),
        "solved": results.solved,
        "flaky": len(results.flaky),
        "not_measured": len(results.cases) - results.measured,
        "pass_rate": None if results.pass_rate is None else round(results.pass_rate, 4),
        "tool_accuracy": round(sum(right) / len(right), 4) if right else None,
        "turns": len(seconds),
        "turn_p95_s": round(quantile(seconds, 0.95), 3) if seconds else None,
        "turn_mean_s": round(sum(seconds) / len(seconds), 3) if seconds else None,
        "cycle_p95_s": round(quantile(cycles, 0.95), 3) if cycles else None,
        "input_tokens": sum(reply.input_tokens for reply in replies),
        "output_tokens": sum(reply.output_tokens for reply in replies),
        "cost_usd": round(sum(costs), 6) if costs else None,
        "seconds": results.seconds,
    }
