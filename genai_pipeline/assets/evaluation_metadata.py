"""What the UI shows of an evaluation: cases, a comparison, figures that Dagster draws, the pass rate over releases."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import AgentFigures
from genai_pipeline.core.gates import AgentGates
from genai_pipeline.core.record import Record
from genai_pipeline.resources.engines import Engines

if TYPE_CHECKING:
    from genai_pipeline.evaluation.evaluate import AgentReport

DRAWN = ("pass_rate", "tool_accuracy", "turn_p95_s", "cycle_p95_s", "output_tokens", "cost_usd", "flaky")
"""Figures that Dagster draws over partitions."""


def evaluation_metadata(found: "AgentReport", gates: AgentGates) -> dict[str, Any]:
    """Of one evaluation; the long table comes last."""
    from genai_pipeline.evaluation.comparison import flipped_rows

    figures = {name: value for name in DRAWN if isinstance(value := found.summary.get(name), int | float)}
    shown: dict[str, Any] = {"suite": gates.suite, **{name: float(value) for name, value in figures.items()}}
    if found.comparison:
        shown["solved by only one"] = table(rows) if (rows := flipped_rows(found.comparison)) else "none"
    shown["figures"] = table([{"figure": k, "value": v} for k, v in found.summary.items()])
    return shown | {"cases": table(found.cases)}


def unsolved(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of cases that a watch does not ask: it would not know whether the release got worse."""
    return [row["case"] for row in cases if "no" in (row.get("success"), row.get("right_tools"))]


def over_releases(
    engines: Engines, record: Record, figures: AgentFigures, gates: AgentGates
) -> dict[str, dg.MetadataValue]:
    """The pass rate of all releases of a model that were asked the same suite; the one in hand comes last."""
    from genai_pipeline.evaluation.pass_rate_chart import RatePoint, pass_rate_chart

    live = engines.records().live(record.model)
    live_release = live.release if live else None
    others = [(r.release, r.facts.agent) for r in engines.records().readable(record.model)[0]]
    asked = [*(other for other in others if other[0] != record.release), (record.release, figures)]
    points = [
        RatePoint(release, agent.solved, agent.cases - agent.not_measured, release == live_release)
        for release, agent in asked
        if agent and agent.suite and agent.suite == figures.suite
        if agent.solved is not None and agent.cases is not None and agent.not_measured is not None
    ]
    drawn = pass_rate_chart([point for point in points if point.cases > 0], gates.task_success_min)
    return {"over_releases": dg.MetadataValue.md(drawn)} if drawn else {}
