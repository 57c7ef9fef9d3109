"""m/agent_report: the agent put through the suite that the model file names, and compared with what is live."""

from genai_pipeline.assets.comparison_with_live import baseline_of, inconclusive_if_moved, keep
from genai_pipeline.assets.evaluation_metadata import evaluation_metadata, over_releases, unsolved
from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tool_calls import measure_engine
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.facts import AgentFigures, Facts
from genai_pipeline.resources.configured import RolloutResource


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
