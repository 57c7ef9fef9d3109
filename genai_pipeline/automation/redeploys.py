"""The sensor that deploys a live release again when this code renders other objects for it, or when they drifted."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import dagster as dg

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.facts import Deployed
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.run_tags import LONGEST_REASON, MODEL_TAG, REASON_TAG, RELEASE_TAG
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines
from genai_pipeline.resources.runs import runs_under_way, why_busy
from genai_pipeline.rollout.control.controller import ActiveRun
from genai_pipeline.rollout.control.rollout_plan import why_not_now

TICK_S = 60


def redeploy_sensor(specs: Sequence[ModelSpec]) -> dg.SensorDefinition:
    """Return the sensor. It compares digests and asks no cluster: the hourly comparison wrote down what drifted."""
    known: dict[tuple[str, str], Deployed] = {}  # this code's own: another one is another process

    @dg.sensor(
        name="redeploys",
        job_name="redeploy",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Deploys a live release again when this code renders other objects for it, as with another "
        "image or setting of its agent, or, with rollout.self_heal, when they drifted.",
    )
    def redeploys(context: dg.SensorEvaluationContext, rollout: RolloutResource) -> dg.SensorResult | dg.SkipReason:
        engines, under_way = rollout.engines(), runs_under_way(context.instance)
        requests: list[dg.RunRequest] = []
        notes: list[str] = []
        for spec in specs:
            try:
                requests += _requests(engines, spec, under_way, known, notes)
            except GenaiError as error:
                notes.append(f"{spec.name}: {error}")
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SkipReason("\n".join(notes) or "Every live release is deployed as this code renders it.")

    return redeploys


def _requests(
    engines: Engines,
    spec: ModelSpec,
    under_way: Sequence[ActiveRun],
    known: dict[tuple[str, str], Deployed],
    notes: list[str],
) -> Iterator[dg.RunRequest]:
    from genai_pipeline.rollout.upkeep.redeployment import due

    live = engines.records().live(spec.name)
    record = engines.records().get(spec.name, live.release) if live else None
    if record is None:
        return
    key = (spec.name, record.release)
    if key not in known:
        known[key] = engines.redeploy().deployed(spec, record)
    wanted = due(spec, record, known[key])
    now = datetime.fromisoformat(utc_now())
    why_not = wanted and (why_busy(engines.records(), spec, under_way) or why_not_now(spec, now))
    if wanted is None or why_not:
        notes += [f"{spec.name}: {wanted.reason}; it waits: {why_not}"] if wanted else []
        return
    config = {"model": spec.name, "reason": wanted.reason, "fingerprint": wanted.fingerprint}
    yield dg.RunRequest(
        run_key=wanted.run_key,
        run_config={"ops": {"redeploy_live_release": {"config": config}}},
        tags={MODEL_TAG: spec.name, RELEASE_TAG: record.release, REASON_TAG: wanted.reason[:LONGEST_REASON]},
    )
