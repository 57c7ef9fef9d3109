"""The part of a plan about the proof: the checks and gates of the model file, and how traffic may move after them."""

from __future__ import annotations

from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.purpose import by_reason, checks_of, not_asked
from genai_pipeline.evaluation.suite_files import load_agent_suite, load_tool_suite


def look_at_proof(spec: ModelSpec) -> PlanSection:
    """Name what a release has to prove. The suites are read."""
    by_asset = {asset: list(checks) for asset, checks in checks_of(spec).items()}
    counted = ", ".join(f"{asset} {len(checks)}" for asset, checks in by_asset.items())
    excused = not_asked(spec)
    lines = [
        PlanLine("ok", f"{sum(map(len, by_asset.values()))} checks: {counted}."),
        *(PlanLine("ok", f"Not applicable: {', '.join(names)}. {why}") for why, names in by_reason(excused).items()),
        PlanLine("ok", _serving_gates(spec)),
        *(_agent_gates(spec) if spec.has_agent else ()),
        PlanLine("ok", _way_to_traffic(spec)),
    ]
    return PlanSection("Proof", lines, {"checks": by_asset, "not_applicable": dict(excused)})


def _serving_gates(spec: ModelSpec) -> str:
    gates, asked = spec.gates.serving, checks_of(spec)["serving_report"]
    limits = {
        "ttft_p95": f"TTFT p95 at most {gates.ttft_p95_ms:g} ms",
        "tokens_per_second": f"at least {gates.min_tokens_per_s:g} tokens/s",
        "error_rate": f"errors at most {gates.error_rate_max:.1%}",
    }
    said = [limit for check, limit in limits.items() if check in asked]
    if gates.usd_per_million_tokens_max:
        said.append(f"at most {gates.usd_per_million_tokens_max:g} USD per million tokens")
    return f"With {gates.at_concurrency} requests at once: {', '.join(said)}."


def _agent_gates(spec: ModelSpec) -> list[PlanLine]:
    gates = spec.gates.agent
    try:
        suite = load_agent_suite(gates.suite)
        if gates.tool_calling_min is not None:
            load_tool_suite(gates.tool_calling_suite)
    except GenaiError as error:
        return [PlanLine("change", str(error))]
    asked = (
        f"The agent solves {gates.task_success_min:.0%} of the {len(suite.cases)} cases of {suite.name}, and calls the "
        f"right tools in {gates.tool_accuracy_min:.0%} of the turns."
    )
    return [PlanLine("ok", asked)]


def _way_to_traffic(spec: ModelSpec) -> str:
    rollout = spec.rollout
    approval = "after `genai approve`" if rollout.approval == "manual" else "by itself"
    window = f" in the window {rollout.window.text}" if rollout.window else ""
    watch = f"it is watched for {rollout.watch_minutes:g} minutes" if rollout.watch_minutes else "it is not watched"
    return f"Traffic moves {approval}{window}; then {watch}. Attempts: {rollout.max_attempts}."
