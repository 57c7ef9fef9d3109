"""The check on m/live that a sensor asks: whether an alert about the live release fires."""

from collections.abc import Iterator, Sequence

import dagster as dg

from genai_pipeline.assets.check_results import check_result
from genai_pipeline.checks.upkeep_specs import upkeep_specs
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict, inconclusive, passed
from genai_pipeline.observability.firing_alerts import CHECK, judge_alerts
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


def alert_checks(specs: Sequence[ModelSpec]) -> dg.AssetChecksDefinition:
    """One step for every model. The sensor `alerts` reports changes without a run; by hand it is asked at once."""

    @dg.multi_asset_check(
        specs=upkeep_specs(specs, "live", only=CHECK),
        name="check_live_alerts",
        description="Asks Prometheus whether an alert fires that is about a live release.",
        can_subset=True,
    )
    def live_alerts(context: dg.AssetCheckExecutionContext, rollout: RolloutResource) -> Iterator[dg.AssetCheckResult]:
        wanted = {key.asset_key.path[0] for key in context.op_execution_context.selected_asset_check_keys}
        for spec in (s for s in specs if s.name in wanted):
            release, verdict = alerts_of_live(rollout.engines(), spec.name)
            yield check_result((spec.name, "live"), verdict, release=release)

    return live_alerts


def alerts_of_live(engines: Engines, model: str) -> tuple[str, Verdict]:
    """Return the live release of a model, and whether an alert about it fires."""
    try:
        live = engines.records().live(model)
    except GenaiError as error:
        return "unknown", inconclusive(CHECK, str(error))
    if live is None:
        return "none", passed(CHECK, "No release is live, so no alert is about one.")
    metrics, profile = engines.gateways.metrics, engines.profile
    return live.release, judge_alerts(metrics, model, live.release, profile.namespace, profile.runbooks)
