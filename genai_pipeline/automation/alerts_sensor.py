"""The sensor that shows firing alerts at `m/live`, as the check `alerts_quiet`, without a run."""

import json
from collections.abc import Sequence

import dagster as dg

from genai_pipeline.assets.check_results import check_evaluation
from genai_pipeline.checks.live_alerts import alerts_of_live
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.resources.configured import RolloutResource

TICK_S = 30


def alerts_sensor(specs: Sequence[ModelSpec]) -> dg.SensorDefinition:
    """Return the sensor. It reports what changed: an alert that goes on firing is one evaluation, not a hundred."""

    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks Prometheus which alerts fire on live releases, and reports changes as m/live.alerts_quiet.",
    )
    def alerts(context: dg.SensorEvaluationContext, rollout: RolloutResource) -> dg.SensorResult:
        engines = rollout.engines()
        known: dict[str, str] = json.loads(context.cursor or "{}")
        found = {spec.name: alerts_of_live(engines, spec.name) for spec in specs}
        now = {model: _in_short(release, verdict) for model, (release, verdict) in found.items()}
        changed = [
            check_evaluation((model, "live"), verdict, release=release)
            for model, (release, verdict) in found.items()
            if known.get(model) != now[model]
        ]
        said = "\n".join(f"{model}: {verdict.summary}" for model, (_, verdict) in found.items())
        return dg.SensorResult(
            asset_events=changed, cursor=json.dumps(now), skip_reason=dg.SkipReason(said or "There is no model.")
        )

    return alerts


def _in_short(release: str, verdict: Verdict) -> str:
    """Return what counts as a change. The words of an error may differ each time."""
    return f"{release} {verdict.outcome} {verdict.summary if verdict.evidence else ''}".strip()
