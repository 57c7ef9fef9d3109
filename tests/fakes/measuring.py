"""Stand-ins for what measures over a real network: load test and evaluation. They have tests of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from genai_pipeline.core.checks import ABOUT_GENERATED_TOKENS
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.evaluation.evaluate import AgentReport
from genai_pipeline.gateways.inference.abc import Inference

Verdicts = Mapping[str, Sequence[Verdict]]


def replace_engines(replace: Callable[[str, Any], None], verdicts: Verdicts, watch_traffic: Any) -> None:
    """Let the assets find what `verdicts` says by then, asset -> verdicts; `replace` as monkeypatch.setattr."""

    def measure(*args: Any, task: Task, **kwargs: Any) -> SimpleNamespace:
        found = [v for v in verdicts["serving_report"] if task.generates or v.check not in ABOUT_GENERATED_TOKENS]
        return SimpleNamespace(verdicts=found, plot="plot", gpus=[], summary={"ttft_p95_ms": 10.0})

    def accept_candidate(
        inference: Inference, metrics: Any, model: str, root: str, task: Task, asked: Collection[str], **more: Any
    ) -> list[Verdict]:
        inference.ask(task, model)
        return [verdict for verdict in verdicts["candidate"] if verdict.check in asked]

    def evaluate(*args: Any, **kwargs: Any) -> AgentReport:
        cases = [{"case": "paris", "success": True}]
        found = [v for v in verdicts["agent_report"] if v.check != "tool_calling"]
        return AgentReport(found, cases, {"task_success": 1.0})

    replace("genai_pipeline.loadtest.load_test.measure", measure)
    replace("genai_pipeline.evaluation.evaluate.evaluate", evaluate)
    replace("genai_pipeline.loadtest.acceptance.accept_candidate", accept_candidate)
    replace("genai_pipeline.loadtest.probe.ContinuousProbe", watch_traffic)
