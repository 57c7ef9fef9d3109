"""The job that rolls out one release of a model, and the sensor that starts it for every new one.

The sensor compares what the source and the model file ask for with what is, on every tick; it
keeps no cursor. A run is one attempt of one release: `run_key = model:release:attempt`.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.release import Release
from genai_pipeline.resources.platform import Platform
from genai_pipeline.resources.runs import UNDER_WAY
from genai_pipeline.rollout.plan import Plan, Step, plan_rollout
from genai_pipeline.rollout.rejection import reject

MODEL_TAG = "genai/model"
RELEASE_TAG = "genai/release"
ATTEMPT_TAG = "genai/attempt"
REASON_TAG = "genai/reason"


def releases_of(spec: ModelSpec) -> dg.DynamicPartitionsDefinition:
    return dg.DynamicPartitionsDefinition(name=f"{spec.name}_releases")


def rollout_job_name(spec: ModelSpec) -> str:
    return f"rollout_{spec.group}"


def rollout_job(spec: ModelSpec, upkeep: dg.AssetSelection) -> Any:
    """The whole graph of one model for one release, with the platform assets around it, but without upkeep's checks."""
    selection = dg.AssetSelection.groups(spec.group, "platform") - upkeep
    return dg.define_asset_job(
        rollout_job_name(spec),
        selection=selection,
        tags={MODEL_TAG: spec.name},
        description=f"Take one release of {spec.name} from the hub to user traffic.",
    )


def version_sensor(files: ModelFiles, jobs: Sequence[Any], tick_s: int) -> dg.SensorDefinition:
    """One sensor for all models: a new revision or serving section becomes a release and a run."""

    @dg.sensor(
        name="new_versions",
        jobs=jobs,
        minimum_interval_seconds=tick_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a rollout for every new model version and every changed serving section.",
    )
    def new_versions(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> dg.SensorResult | dg.SkipReason:
        requests: list[dg.RunRequest] = []
        partitions: list[dg.AddDynamicPartitionsRequest] = []
        notes = [line for error in files.errors for line in error.problems]
        for spec in files.specs:
            try:
                release, plan = _plan(context, platform, spec)
                notes.append(f"{spec.name}: {plan.why}")
                for request in _act(platform, spec, release, plan):
                    partitions.append(releases_of(spec).build_add_request([release.id]))
                    requests.append(request)
            except GenaiError as error:
                notes.append(f"{spec.name}: {error}")
        if not requests:
            return dg.SkipReason("\n".join(notes) or "There is no model file.")
        return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=partitions)

    return new_versions


def _plan(context: dg.SensorEvaluationContext, platform: Platform, spec: ModelSpec) -> tuple[Release, Plan]:
    revision = platform.gateways.source(spec.source).resolve(spec.source.address, spec.source.ref)
    release = Release.of(spec, revision)
    record = platform.records.get(spec.name, release.id)
    live = platform.records.live(spec.name)
    return release, plan_rollout(spec, release, record, live, _is_busy(context.instance, spec), utc_now())


def _is_busy(instance: dg.DagsterInstance, spec: ModelSpec) -> bool:
    runs = dg.RunsFilter(tags={MODEL_TAG: spec.name}, statuses=UNDER_WAY)
    return bool(instance.get_run_records(runs, limit=1))


def _act(platform: Platform, spec: ModelSpec, release: Release, plan: Plan) -> Iterator[dg.RunRequest]:
    """Write the step down first: a tick that dies here costs an attempt, never a second run."""
    records = platform.records
    if plan.step is Step.GIVE_UP:
        reject(records, platform.candidates, release, plan.why)
    if plan.step not in (Step.START, Step.REOPEN):
        return
    records.open(spec, release, f"found at {spec.source.title}")
    if plan.step is Step.REOPEN:
        records.update(spec.name, release.id, lambda r: r.reopened(), plan.why)
    attempt = records.update(spec.name, release.id, lambda r: r.attempted(), f"run requested: {plan.why}").attempt
    yield dg.RunRequest(
        job_name=rollout_job_name(spec),
        run_key=f"{spec.name}:{release.id}:{attempt}",
        partition_key=release.id,
        tags={MODEL_TAG: spec.name, RELEASE_TAG: release.id, ATTEMPT_TAG: str(attempt), REASON_TAG: plan.why},
    )
