"""The check on m/live that a schedule asks: the objects in the cluster against what this code renders."""

from collections.abc import Iterator, Sequence

import dagster as dg

from genai_pipeline.assets.check_results import check_result
from genai_pipeline.checks.upkeep_specs import upkeep_specs
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, passed
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines
from genai_pipeline.resources.runs import runs_under_way, why_busy


def drift_checks(specs: Sequence[ModelSpec]) -> dg.AssetChecksDefinition:
    """One step for every model: a step of its own would start a process for a second of work."""

    @dg.multi_asset_check(
        specs=upkeep_specs(specs, "live", only="matches_rendered"),
        name="live_matches_rendered",
        description="Compares the live releases' objects with what is rendered, and remembers what differs.",
        can_subset=True,
    )
    def drift(context: dg.AssetCheckExecutionContext, rollout: RolloutResource) -> Iterator[dg.AssetCheckResult]:
        engines = rollout.engines()
        wanted = {key.asset_key.path[0] for key in context.op_execution_context.selected_asset_check_keys}
        for spec in (s for s in specs if s.name in wanted):
            release, verdict = _compared(context.instance, engines, spec)
            yield check_result((spec.name, "live"), verdict, release=release)

    return drift


def _compared(instance: dg.DagsterInstance, engines: Engines, spec: ModelSpec) -> tuple[str, Verdict]:
    """Compare. The verdict is inconclusive while a run moves what is compared."""
    from genai_pipeline.k8s.render import render_live
    from genai_pipeline.rollout.upkeep.drift_detection import CHECK, as_released, judge_drift

    try:
        live = engines.records().live(spec.name)
        if live is None:
            return "none", passed(CHECK, "No release is live: there is nothing to compare.")
        why_not = why_busy(engines.records(), spec, runs_under_way(instance))
        if why_not:
            return live.release, inconclusive(CHECK, f"Not compared now: {why_not}.")
        record = engines.records().require(spec.name, live.release)
        own, release = as_released(spec, record)
        objects = render_live(own, release, engines.profile)
        verdict, drift = judge_drift(engines.gateways.cluster, objects, release.id)
        same_code = record.facts.deployed == engines.redeploy().deployed(spec, record)
        if same_code and verdict.outcome != "inconclusive":  # else it is the sensor `redeploys` that acts
            engines.redeploy().note_drift(spec, record, drift)
        return live.release, verdict
    except GenaiError as error:
        return "unknown", inconclusive(CHECK, str(error))
