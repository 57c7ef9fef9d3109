"""The jobs that roll out or promote one release of a model, and the sensors that start them.

The sensors hand what is under way to the controller (rollout/control/controller.py) and turn what it returns into run
requests. A run is one attempt of one release: `run_key = model:release:attempt`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.run_tags import ATTEMPT_TAG, LONGEST_REASON, MODEL_TAG, REASON_TAG, RELEASE_TAG, ROLLOUT_TAG
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines, kept
from genai_pipeline.resources.runs import runs_under_way
from genai_pipeline.rollout.control.controller import PROMOTION_JOBS, ROLLOUT_JOBS, SENSORS, RequestedRun


def releases_of(spec: ModelSpec) -> dg.DynamicPartitionsDefinition:
    return dg.DynamicPartitionsDefinition(name=f"{spec.name}_releases")


def rollout_job_name(spec: ModelSpec) -> str:
    return f"{ROLLOUT_JOBS}{spec.group}"


def promote_job_name(spec: ModelSpec) -> str:
    return f"{PROMOTION_JOBS}{spec.group}"


def rollout_job(spec: ModelSpec, upkeep: dg.AssetSelection) -> Any:
    """Return the job that proves one release: the graph up to `agent_report`, with the platform assets around it.

    The promotion and the checks of upkeep are left out.
    """
    selection = dg.AssetSelection.groups(spec.group, "platform") - _promoted(spec) - upkeep
    return dg.define_asset_job(
        rollout_job_name(spec),
        selection=selection,
        tags={MODEL_TAG: spec.name, ROLLOUT_TAG: "true"},
        description=f"Take one release of {spec.name} from the hub to a proven candidate; its promotion follows.",
    )


def promote_job(spec: ModelSpec, upkeep: dg.AssetSelection) -> Any:
    """Return the job that moves the traffic to a release that is proven, and approved if it must be.

    The checks of upkeep are left out: they would compare what the promotion is about to change.
    Its two steps take seconds, so they run in the run's own process: a process for each would cost more.
    """
    return dg.define_asset_job(
        promote_job_name(spec),
        selection=_promoted(spec) - upkeep,
        executor_def=dg.in_process_executor,
        tags={MODEL_TAG: spec.name},
        description=f"Move the user traffic of {spec.name} to a release whose record is all passed.",
    )


def _promoted(spec: ModelSpec) -> dg.AssetSelection:
    return dg.AssetSelection.assets([spec.name, "live"], ["platform", "chat_ui"])


def version_sensors(files: ModelFiles, jobs: Sequence[Any], tick_s: int) -> list[dg.SensorDefinition]:
    """A sensor for each kind of source in use, so that a kind that answers slowly holds only its own models back."""
    kinds = [kind for kind in SENSORS if any(spec.source.kind == kind for spec in files.specs)]
    return [_version_sensor(kind, files, jobs, tick_s) for kind in kinds]


def _version_sensor(kind: str, files: ModelFiles, jobs: Sequence[Any], tick_s: int) -> dg.SensorDefinition:
    """A new revision or serving section becomes a release and a run."""
    specs = [spec for spec in files.specs if spec.source.kind == kind]
    problems = [line for error in files.errors for line in error.problems]
    controller_of = kept(Engines.controller)
    mine = {name(spec) for spec in specs for name in (rollout_job_name, promote_job_name)}

    @dg.sensor(
        name=SENSORS[kind],
        jobs=[job for job in jobs if job.name in mine],
        minimum_interval_seconds=tick_s,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Starts a rollout for every new version and every changed serving section of {kind} models.",
    )
    def new_versions(context: dg.SensorEvaluationContext, rollout: RolloutResource) -> dg.SensorResult | dg.SkipReason:
        under_way = runs_under_way(context.instance)
        gone = {spec.name: why for spec in specs if (why := files.why_gone(spec.name))}  # their runs would fail
        found = [spec for spec in specs if spec.name not in gone]
        tick = controller_of(rollout.engines()).tick(found, under_way, datetime.fromisoformat(utc_now()))
        if not tick.starts:
            waiting = [f"{model}: {why} Nothing starts until that is right." for model, why in gone.items()]
            return dg.SkipReason("\n".join([*problems, *waiting, *tick.notes]))
        return dg.SensorResult(
            run_requests=[_request(start) for start in tick.starts],
            dynamic_partitions_requests=[releases_of(s.spec).build_add_request([s.release]) for s in tick.starts],
        )

    return new_versions


def _request(start: RequestedRun) -> dg.RunRequest:
    name = rollout_job_name if start.kind == "rollout" else promote_job_name
    return dg.RunRequest(
        job_name=name(start.spec),
        run_key=start.run_key,
        partition_key=start.release,
        tags={
            MODEL_TAG: start.spec.name,
            RELEASE_TAG: start.release,
            ATTEMPT_TAG: str(start.attempt),
            REASON_TAG: start.reason[:LONGEST_REASON],
        },
    )
