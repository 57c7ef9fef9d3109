"""Evaluate an agent, or a model's own tool calls: what assets and `genai evaluate` call of this package."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.gates import AgentGates
from genai_pipeline.core.progress import Log
from genai_pipeline.core.quantiles import quantile
from genai_pipeline.core.verdict import Verdict, passed
from genai_pipeline.evaluation.agent_asker import AgentAsker
from genai_pipeline.evaluation.agent_client import TIMEOUT_S, AgentClient
from genai_pipeline.evaluation.agent_suite import AgentCase, AgentSuite
from genai_pipeline.evaluation.collecting import case_rows, outcomes_of
from genai_pipeline.evaluation.comparison import CHECK, Comparison, judge_not_worse
from genai_pipeline.evaluation.current_weather import with_weather_of
from genai_pipeline.evaluation.endpoint_asker import EndpointAsker
from genai_pipeline.evaluation.isolation import SessionResult, run_isolation
from genai_pipeline.evaluation.llm_judge import LlmJudge
from genai_pipeline.evaluation.reply import NotMeasured
from genai_pipeline.evaluation.results import Results
from genai_pipeline.evaluation.runner import CONCURRENCY, CaseRun, RunSettings, planned_runs, run_suite
from genai_pipeline.evaluation.suite import Case, Suite
from genai_pipeline.evaluation.suite_files import load_agent_suite
from genai_pipeline.evaluation.tool_suite import ToolSuite
from genai_pipeline.evaluation.verdicts import judge_suite


def _silent(message: str) -> None:
    """Take a message about the progress and show it nowhere."""


@dataclass(frozen=True)
class EvaluationSettings(RunSettings):
    """How an agent or an endpoint is asked.

    Args:
        timeout_s: for one turn of an agent, or one answer of an endpoint.
        weather_url: the agent's own weather service, which then says what is right; None: the suite's table does.
        judge: a model that judges turns with a `rubric`; None: they are not judged.
        usd_per_million_tokens: price of generated tokens; None: not known.
        api_key: of an endpoint.
    """

    timeout_s: float = TIMEOUT_S
    weather_url: str | None = None
    judge: LlmJudge | None = None
    usd_per_million_tokens: float | None = None
    api_key: str = ""


@dataclass(frozen=True)
class Baseline:
    """What a release is compared with.

    Args:
        release: the live one; None: nothing is live.
        agent_url: its address, where the same cases are asked if its stored results cannot be compared.
        stored: its newest results.
        itself: the evaluated release is the live one.
        has_agent: whether the live release has an agent that can be asked.
        keep: stores the results of the live release, where it had to be asked.
    """

    release: str | None
    agent_url: str = ""
    stored: Results | None = None
    itself: bool = False
    has_agent: bool = True
    keep: Callable[[Results], object] = lambda results: None


@dataclass(frozen=True)
class AgentReport:
    """The verdicts of agent_report, a flat row per case, and the figures they rest on."""

    verdicts: list[Verdict]
    cases: list[dict[str, Any]]
    summary: dict[str, Any]
    results: Results | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class _Found:
    """What asking gave."""

    runs: list[CaseRun[AgentCase]]
    sessions: list[SessionResult]
    results: Results


def evaluate(
    agent_url: str,
    suite: str | AgentSuite,
    gates: AgentGates,
    settings: EvaluationSettings | None = None,
    on_progress: Log = _silent,
    against: Baseline | None = None,
) -> AgentReport:
    """Put the agent through the suite. An agent that cannot be reached makes every verdict inconclusive.

    Args:
        suite: a suite, the name of one in `suites/`, or the path of one.
        against: adds the verdict `not_worse_than_live`; None: it is compared with nothing.
    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    settings = settings or EvaluationSettings()
    settings = replace(settings, repeat=settings.repeat or gates.repeat)
    whole = load_agent_suite(suite) if isinstance(suite, str) else suite
    found = _ask_agent(agent_url, whole, settings, on_progress, isolation=True)
    verdicts, comparison = judge_suite(found.runs, found.sessions, gates), None
    if against:
        comparison = _compared(found.results, whole, settings, on_progress, against)
        verdicts.append(_not_worse(comparison, gates.worse_than_live_alpha, against))
    rows = case_rows(found.runs, found.results)
    return AgentReport(verdicts, rows, _summary(found), found.results, comparison)


def measure_agent(
    agent_url: str, suite: AgentSuite, settings: EvaluationSettings, on_progress: Log = _silent
) -> Results:
    """Ask the cases only, without verdicts: what one release did, to compare another one with it."""
    return _ask_agent(agent_url, suite, settings, on_progress, isolation=False).results


def measure_tool_calls(
    base_url: str,
    model: str,
    suite: ToolSuite,
    settings: EvaluationSettings | None = None,
    on_progress: Log = _silent,
) -> Results:
    """Ask an OpenAI-compatible endpoint for tool calls, streamed and not. Cases without an answer say why.

    Args:
        base_url: with or without `/v1`.
        model: the name under which it is served.
    """
    settings = settings or EvaluationSettings()
    started, at = time.monotonic(), utc_now()
    with EndpointAsker(
        base_url,
        model,
        suite,
        api_key=settings.api_key,
        timeout_s=settings.timeout_s,
        concurrency=settings.concurrency,
    ) as asker:
        runs = run_suite(asker, suite, settings, on_progress)
    return _results(suite, runs, at, time.monotonic() - started, settings, **asker.about())


def _ask_agent(
    agent_url: str, whole: AgentSuite, settings: EvaluationSettings, on_progress: Log, isolation: bool
) -> _Found:
    at, started = utc_now(), time.monotonic()
    suite, sessions = whole, list[SessionResult]()
    with AgentClient(agent_url, settings.timeout_s, max(settings.concurrency, len(whole.isolation.places))) as agent:
        try:
            suite = with_weather_of(whole, settings.weather_url) if settings.weather_url else whole
            agent.reach()
        except NotMeasured as error:
            runs = planned_runs(suite, settings.repeat, problem=error.reason)
            sessions = [SessionResult(place, "", problem=error.reason) for place in suite.isolation.places]
        else:
            if isolation:
                sessions = run_isolation(agent, suite.isolation)
                on_progress(f"{len(sessions)} sessions asked side by side")
            runs = run_suite(AgentAsker(agent, suite, settings.judge), suite, settings, on_progress)
    judge = settings.judge.about() if settings.judge else None
    results = _results(whole, runs, at, time.monotonic() - started, settings, judge=judge)
    return _Found(runs, sessions, results)


def _results(
    suite: Suite[Case], runs: list[CaseRun[Case]], at: str, seconds: float, settings: EvaluationSettings, **more: Any
) -> Results:
    return Results(
        suite=suite.name,
        digest=suite.digest,
        cases=tuple(outcomes_of(runs)),
        at=at,
        seconds=round(seconds, 3),
        concurrency=settings.concurrency,
        versions={"genai_pipeline": _version()},
        usd_per_million_tokens=settings.usd_per_million_tokens,
        **more,
    )


def _version() -> str | None:
    try:
        return metadata.version("genai-pipeline")
    except metadata.PackageNotFoundError:  # code that was only put on the path
        return None


def _compared(
    mine: Results, suite: AgentSuite, settings: EvaluationSettings, on_progress: Log, against: Baseline
) -> Comparison | None:
    """Compare with the stored results of what is live, or with its answers to the same cases now."""
    if against.release is None or against.itself or not against.has_agent:
        return None
    why = against.stored.why_not_like(mine) if against.stored else "there are no stored results"
    if against.stored and not why and against.stored.measured == len(against.stored.cases):
        return Comparison(mine, against.stored)
    why = why or "some cases were not measured"
    on_progress(f"The stored results of {against.release} cannot be compared: {why}. Its agent is asked now.")
    most = min(settings.concurrency, CONCURRENCY)  # the live agent also serves users
    asking = replace(settings, concurrency=most, usd_per_million_tokens=None)
    asked = replace(measure_agent(against.agent_url, suite, asking, on_progress), release=against.release)
    if asked.measured == len(asked.cases):
        against.keep(asked)
    return Comparison(mine, asked)


def _not_worse(comparison: Comparison | None, alpha: float, against: Baseline) -> Verdict:
    if comparison is None:
        why = "It is live itself" if against.itself else "Nothing is live"
        why = why if against.has_agent else f"The live release {against.release} has no agent"
        return passed(CHECK, f"{why}: no other release can be compared with it.")
    return judge_not_worse(comparison, alpha, f"The live release {against.release}")


def _summary(found: _Found) -> dict[str, Any]:
    """Figures of the whole for the record and the UI."""
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
