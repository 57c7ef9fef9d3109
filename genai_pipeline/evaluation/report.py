"""Evaluate an agent: the one door to this package. Called by assets/agent_report.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.model_spec import AgentGates
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.evaluation.agent_client import TIMEOUT_S, AgentClient, NotMeasured
from genai_pipeline.evaluation.isolation import SessionResult, run_isolation
from genai_pipeline.evaluation.runner import CaseResult, Progress, run_suite
from genai_pipeline.evaluation.suite import Suite, load_suite
from genai_pipeline.evaluation.truth import with_weather_of
from genai_pipeline.evaluation.verdicts import case_rows, judge_suite, percentile_95


@dataclass(frozen=True)
class AgentReport:
    """The verdicts of agent_report, a flat row per case, and the figures they rest on."""

    verdicts: list[Verdict]
    cases: list[dict[str, Any]]
    summary: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {"verdicts": [v.to_json() for v in self.verdicts], "cases": self.cases, "summary": self.summary}


def evaluate(
    agent_url: str,
    suite: str | Suite,
    gates: AgentGates,
    on_progress: Progress = lambda message: None,
    weather_url: str | None = None,
    timeout_s: float = TIMEOUT_S,
) -> AgentReport:
    """Put the agent through the suite. An agent that cannot be reached makes every verdict inconclusive.

    Args:
        suite: a suite, or the name of one in `suites/`.
        weather_url: the agent's own weather service, which then says what is right; None: the suite's table does.
        timeout_s: for one turn.
    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    asked = load_suite(suite) if isinstance(suite, str) else suite
    with AgentClient(agent_url, timeout_s) as agent:
        try:
            asked = with_weather_of(asked, weather_url) if weather_url else asked
            agent.reach()
        except NotMeasured as error:
            return _report(asked, *_unreached(asked, error.reason), gates)
        sessions = run_isolation(agent, asked.isolation)
        on_progress(f"{len(sessions)} sessions asked side by side")
        results = run_suite(agent, asked, on_progress)
    return _report(asked, results, sessions, gates)


def _unreached(suite: Suite, reason: str) -> tuple[list[CaseResult], list[SessionResult]]:
    cases = [CaseResult(case, problem=reason) for case in suite.cases]
    return cases, [SessionResult(place, "", problem=reason) for place in suite.isolation.places]


def _report(suite: Suite, results: list[CaseResult], sessions: list[SessionResult], gates: AgentGates) -> AgentReport:
    seconds = [reply.seconds for result in results for reply in result.replies]
    right = [not wrong for result in results for wrong in result.calls or []]
    summary = {
        "suite": suite.name,
        "cases": len(results),
        "solved": sum(result.success is True for result in results),
        "not_measured": sum(result.success is None for result in results),
        "tool_accuracy": round(sum(right) / len(right), 4) if right else None,
        "turns": len(seconds),
        "turn_p95_s": round(percentile_95(seconds), 3) if seconds else None,
        "turn_mean_s": round(sum(seconds) / len(seconds), 3) if seconds else None,
    }
    return AgentReport(judge_suite(results, sessions, gates), case_rows(results), summary)
