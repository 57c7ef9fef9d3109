"""The whole graph in one process, over an in-memory world.

The engines that need a real network (load test, evaluation) are replaced where the assets call them;
they have tests of their own.
"""

from types import SimpleNamespace

import pytest

from genai_pipeline.evaluation.report import AgentReport
from tests.defs.desk import Desk
from tests.fakes.world import World


@pytest.fixture
def desk(monkeypatch):
    desk = Desk(World())
    summary = {"ttft_p95_ms": 10.0}

    def measure(*args, **kwargs):
        return SimpleNamespace(verdicts=desk.verdicts["serving_report"], plot="plot", summary=summary)

    def evaluate(*args, **kwargs):
        cases = [{"case": "paris", "success": True}]
        verdicts = [v for v in desk.verdicts["agent_report"] if v.check != "tool_calling"]
        return AgentReport(verdicts, cases, {"task_success": 1.0})

    def tool_calling():
        return next(v for v in desk.verdicts["agent_report"] if v.check == "tool_calling")

    monkeypatch.setattr("genai_pipeline.loadtest.report.measure", measure)
    monkeypatch.setattr("genai_pipeline.evaluation.report.evaluate", evaluate)
    monkeypatch.setattr("genai_pipeline.evaluation.tool_calling.not_asked", tool_calling)
    monkeypatch.setattr(
        "genai_pipeline.loadtest.acceptance.accept_candidate", lambda *a, **k: desk.verdicts["candidate"]
    )
    monkeypatch.setattr("genai_pipeline.loadtest.probe.ContinuousProbe", desk.world.watch_traffic)
    monkeypatch.setattr("time.sleep", lambda _: None)
    return desk
