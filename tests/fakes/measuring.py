"""Stand-ins for what measures over a real network: load test and evaluation. They have tests of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from genai_pipeline.core.verdict import Verdict
from genai_pipeline.evaluation.evaluate import AgentReport

Verdicts = Mapping[str, Sequence[Verdict]]


def replace_engines(replace: Callable[[str, Any], None], verdicts: Verdicts, watch_traffic: Any) -> None:
    """Let the assets find what `verdicts` says by then, asset -> verdicts; `replace` as monkeypatch.setattr."""

    def measure(*args: Any, **kwargs: Any) -> SimpleNamespace:
        return SimpleNamespace(verdicts=verdicts["serving_report"], plot="plot", summary={"ttft_p95_ms": 10.0})

    def evaluate(*args: Any, **kwargs: Any) -> AgentReport:
        cases = [{"case": "paris", "success": True}]
        found = [v for v in verdicts["agent_report"] if v.check != "tool_calling"]
        return AgentReport(found, cases, {"task_success": 1.0})

    def tool_calling() -> Verdict:
        return next(v for v in verdicts["agent_report"] if v.check == "tool_calling")

    replace("genai_pipeline.loadtest.load_test.measure", measure)
    replace("genai_pipeline.evaluation.evaluate.evaluate", evaluate)
    replace("genai_pipeline.evaluation.verdicts.tool_calling_not_asked", tool_calling)
    replace("genai_pipeline.loadtest.acceptance.accept_candidate", lambda *a, **k: verdicts["candidate"])
    replace("genai_pipeline.loadtest.probe.ContinuousProbe", watch_traffic)
