"""m/agent_report: the agent put through the suite that the model file names, and compared with what is live."""

from typing import Any

from genai_pipeline.assets.comparison_with_live import baseline_of, inconclusive_if_moved, keep
from genai_pipeline.assets.evaluation_metadata import evaluation_metadata, over_releases, unsolved
from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.facts import AgentFigures, Facts, ToolCallingFigures
from genai_pipeline.k8s.render import release_alias
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


@release_asset(deps=["agent_candidate"], kinds={"strands"}, checks=CHECKS["agent_report"])
def agent_report(context: ReleaseContext, rollout: RolloutResource) -> AssetResult:
    """Task success, tool choice and arguments, isolation of sessions, latency, case by case; against live."""
    from genai_pipeline.evaluation.evaluate import EvaluationSettings, evaluate
    from genai_pipeline.evaluation.llm_judge import judge_for

    engines, gates = rollout.engines(), context.spec.gates.agent
    baseline = baseline_of(engines, context.release, gates.suite, context.log)
    found = evaluate(
        engines.candidates().agent_url(context.release),
        gates.suite,
        gates,
        settings=EvaluationSettings(
            concurrency=context.spec.gates.conversations,
            weather_url=engines.profile.weather_url,
            judge=judge_for(gates),
            usd_per_million_tokens=context.record.usd_per_million_tokens,
        ),
        on_progress=context.log,
        against=baseline,
    )
    verdicts = inconclusive_if_moved(engines, context.release.model, baseline, found.verdicts)
    kept = {"unsolved": unsolved(found.cases), **keep(engines, context.release, found.results)}
    figures = AgentFigures.model_validate({**found.summary, **kept})
    metadata = over_releases(engines, context.record, figures, gates) | evaluation_metadata(found, gates)
    calls = measure_engine(context, engines)
    facts = Facts(agent=figures).updated(calls.facts)
    return AssetResult([*verdicts, *calls.verdicts], {**metadata, **calls.metadata}, facts)


def measure_engine(context: ReleaseContext, engines: Engines) -> AssetResult:
    """Return the verdict `tool_calling` with its tables; nothing without such a gate.

    Raises: NotFound, SuiteError: the suite is missing or wrong.
    """
    from genai_pipeline.evaluation.evaluate import EvaluationSettings, measure_tool_calls
    from genai_pipeline.evaluation.suite_files import load_tool_suite
    from genai_pipeline.evaluation.verdicts import judge_tool_calling

    gates = context.spec.gates
    if gates.agent.tool_calling_min is None:
        return AssetResult([])
    suite = load_tool_suite(gates.agent.tool_calling_suite)
    url, price = engines.candidates().engine_url(context.release), context.record.usd_per_million_tokens
    settings = EvaluationSettings(gates.conversations, gates.agent.repeat, usd_per_million_tokens=price)
    alias = release_alias(context.release)  # no other release answers to it
    results = measure_tool_calls(url, alias, suite, settings, context.log)
    verdict = judge_tool_calling(results.cases, gates.agent.tool_calling_min)
    figures: dict[str, Any] = {"cases": len(results.cases), "solved": results.solved, "flaky": len(results.flaky)}
    figures |= {"not_measured": len(results.cases) - results.measured, "seconds": results.seconds}
    figures |= {"suite": suite.name, **keep(engines, context.release, results)}
    wrong = [{"case": c.name, "tags": ", ".join(c.tags), "reason": c.reason} for c in results.cases if not c.solved]
    metadata = {"tool_calling_unsolved": table(wrong)} if wrong else {}
    return AssetResult([verdict], metadata, Facts(tool_calling=ToolCallingFigures.model_validate(figures)))
