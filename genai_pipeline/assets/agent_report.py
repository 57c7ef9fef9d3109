"""m/agent_report: the agent put through the suite that the model file names, and held against what is live."""

from genai_pipeline.assets.evaluation_metadata import evaluation_metadata, over_releases, unsolved
from genai_pipeline.assets.held_against import against_live, keep, unless_it_moved
from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tool_calls import put_to_the_engine
from genai_pipeline.core.facts import AgentFigures, Facts


def _evaluate(hand: InHand) -> Findings:
    from genai_pipeline.evaluation.evaluate import EvaluationSettings, evaluate
    from genai_pipeline.evaluation.llm_judge import judge_for

    engines, gates = hand.engines, hand.spec.gates
    against = against_live(engines, hand.release, gates.agent.suite, hand.say)
    found = evaluate(
        engines.candidates().agent_url(hand.release),
        gates.agent.suite,
        gates.agent,
        settings=EvaluationSettings(
            concurrency=gates.conversations,
            weather_url=engines.profile.weather_url,
            judge=judge_for(gates.agent),
            usd_per_million_tokens=hand.record.usd_per_million_tokens,
        ),
        on_progress=hand.say,
        against=against,
    )
    verdicts = unless_it_moved(engines, hand.release.model, against, found.verdicts)
    kept = {"unsolved": unsolved(found.cases), **keep(engines, hand.release, found.results)}
    figures = AgentFigures.model_validate({**found.summary, **kept})
    metadata = over_releases(engines, hand.record, figures, gates.agent) | evaluation_metadata(found, gates.agent)
    calls = put_to_the_engine(hand)
    facts = Facts(agent=figures).updated(calls.facts)
    return Findings([*verdicts, *calls.verdicts], {**metadata, **calls.metadata}, facts)


AGENT_REPORT = ReleaseAsset(
    name="agent_report",
    deps=("agent_candidate",),
    kinds=frozenset({"strands"}),
    description="Task success, tool choice and arguments, isolation of sessions, latency, case by case; against live.",
    work=_evaluate,
)
