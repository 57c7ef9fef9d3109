"""The checks on the two reports that a schedule asks: the live release, put through the agent suite once more.

What comes of it moves no traffic. Measured, it is a materialization of the live partition, which keeps them fresh.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import dagster as dg

from genai_pipeline.assets.check_results import check_result
from genai_pipeline.assets.comparison_with_live import keep
from genai_pipeline.assets.evaluation_metadata import evaluation_metadata
from genai_pipeline.assets.tables import table
from genai_pipeline.checks.upkeep_specs import upkeep_specs
from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.facts import Facts, Reevaluation
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Outcome, Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines

PASSES, WITHIN = "still_passes", "still_within_gates"
REPORTS: Mapping[str, str] = {PASSES: "agent_report", WITHIN: "serving_report"}


def live_evaluation_checks(spec: ModelSpec) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(
        specs=[*upkeep_specs([spec], "agent_report"), *upkeep_specs([spec], "serving_report")],
        name=f"{spec.group}_live_evaluation",
        description="Puts the live agent through its suite again, and reads the engine's own figures meanwhile.",
    )
    def live_evaluation(
        context: dg.AssetCheckExecutionContext, rollout: RolloutResource
    ) -> Iterator[dg.AssetCheckResult]:
        engines = rollout.engines()
        live = engines.records().live(spec.name)
        if live is None:
            yield from _results(spec, "none", [passed(check, "No release is live.") for check in REPORTS])
            return
        record = engines.records().require(spec.name, live.release)
        if not record.as_release.has_agent:
            why = f"Not applicable: {live.release} has no agent to be asked."
            yield from _results(spec, live.release, [inconclusive(check, why) for check in REPORTS])
            return
        verdicts, metadata = _measured(engines, spec, record, context.log.info)
        _remember(engines, record, verdicts[0])
        for event in _materializations(spec, record, verdicts, metadata):
            context.op_execution_context.log_event(event)
        yield from _results(spec, live.release, verdicts, metadata)

    return live_evaluation


def _results(
    spec: ModelSpec, release: str, verdicts: list[Verdict], metadata: Mapping[str, Any] = MappingProxyType({})
) -> Iterator[dg.AssetCheckResult]:
    for verdict in verdicts:
        more = metadata if verdict.check == PASSES else {}
        yield check_result((spec.name, REPORTS[verdict.check]), verdict, release=release, **more)


def _measured(engines: Engines, spec: ModelSpec, record: Record, say: Any) -> tuple[list[Verdict], dict[str, Any]]:
    """Verdicts of both checks. Another release that got the traffic meanwhile makes them inconclusive."""
    from genai_pipeline.evaluation.evaluate import EvaluationSettings, evaluate
    from genai_pipeline.evaluation.llm_judge import judge_for

    gates = spec.gates.agent
    try:
        before = _metrics(engines, record)
        url = engines.traffic().url(spec.name, "agent") or ""
        settings = EvaluationSettings(
            weather_url=engines.profile.weather_url,
            judge=judge_for(gates),
            usd_per_million_tokens=record.usd_per_million_tokens,
        )
        found = evaluate(url, gates.suite, gates, settings, say)
        within = _within(spec, before, _metrics(engines, record))
        live = engines.records().live(spec.name)
    except GenaiError as error:
        return [inconclusive(check, str(error)) for check in REPORTS], {}
    if live is None or live.release != record.release:
        return [inconclusive(check, f"{record.release} lost the traffic meanwhile.") for check in REPORTS], {}
    verdicts = [{"check": v.check, "outcome": str(v.outcome), "evidence": v.summary} for v in found.verdicts]
    metadata = {"verdicts": table(verdicts), **evaluation_metadata(found, gates)}
    metadata |= keep(engines, record.as_release, found.results, only_whole=True)
    return [_whole(found.verdicts), within], metadata


def _metrics(engines: Engines, record: Record) -> EngineMetrics | str:
    """Of the release's own engine; or why they cannot be read."""
    try:
        return engines.gateways.metrics.read(engines.candidates().engine_url(record.as_release))
    except GenaiError as error:
        return str(error)


def _within(spec: ModelSpec, before: EngineMetrics | str, after: EngineMetrics | str) -> Verdict:
    from genai_pipeline.loadtest.recheck import judge_while_asked

    for reading in (before, after):
        if isinstance(reading, str):
            return inconclusive(WITHIN, reading)
    assert isinstance(before, EngineMetrics)
    assert isinstance(after, EngineMetrics)
    return judge_while_asked(spec.gates.serving, before, after)


def _whole(verdicts: list[Verdict]) -> Verdict:
    """One verdict for the suite: failed says which, and inconclusive too."""
    for outcome, make in ((Outcome.FAILED, failed), (Outcome.INCONCLUSIVE, inconclusive)):
        mine = [f"{v.check}: {v.summary}" for v in verdicts if v.outcome is outcome]
        if mine:
            return make(PASSES, " · ".join(mine))
    return passed(PASSES, " · ".join(v.summary for v in verdicts))


def _remember(engines: Engines, record: Record, verdict: Verdict) -> None:
    """In the record, and as a notice where it did pass the time before. An inconclusive one changes nothing."""
    if verdict.outcome is Outcome.INCONCLUSIVE:
        return
    before = record.facts.evaluated_again
    changed = (before.outcome if before else Outcome.PASSED) != verdict.outcome
    found = Reevaluation(outcome=str(verdict.outcome), at=utc_now())
    if changed and verdict.outcome is Outcome.FAILED:
        engines.notices().write(
            Notice(NoticeKind.NO_LONGER_PASSES, record.model, record.release, verdict.summary, found.at)
        )
    event = f"evaluated again: {verdict.outcome}: {verdict.summary}" if changed else ""
    facts = Facts(evaluated_again=found)
    engines.records().update(record.model, record.release, lambda r: r.with_facts(facts), event)


def _materializations(
    spec: ModelSpec, record: Record, verdicts: list[Verdict], metadata: Mapping[str, Any]
) -> Iterator[dg.AssetMaterialization]:
    """Of each report that was measured, whatever it says; of m/live where the suite is passed still."""
    fresh = [REPORTS[v.check] for v in verdicts if v.outcome is not Outcome.INCONCLUSIVE]
    fresh += ["live"] if verdicts[0].passed else []
    for asset in fresh:
        more = metadata if asset == REPORTS[PASSES] else {}
        about = {"release": record.release, "revision": record.revision, "evaluated_again": True}
        yield dg.AssetMaterialization([spec.name, asset], partition=record.release, metadata={**about, **more})
