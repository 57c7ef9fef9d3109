"""Jobs and schedules that ask the checks of `checks/` about what is live and what is staged.

All of them only look, and are on from the start. Their runs have no tag genai/model, so none of them holds a rollout or
a rollback.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from genai_pipeline.checks.live_alerts import alert_checks
from genai_pipeline.checks.live_capacity import capacity_checks
from genai_pipeline.checks.live_drift import drift_checks
from genai_pipeline.checks.live_evaluation import live_evaluation_checks
from genai_pipeline.checks.live_node_pools import live_node_pools_check
from genai_pipeline.checks.staged_bytes import staged_bytes_check
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.run_tags import UPKEEP_TAG
from genai_pipeline.resources.configured import StoreResource
from genai_pipeline.resources.runs import runs_under_way, why_busy

RUNNING = dg.DefaultScheduleStatus.RUNNING


def upkeep_of(specs: Sequence[ModelSpec], has_node_pools: bool) -> dg.Definitions:
    """Return the checks of upkeep, with the jobs and schedules that ask them."""
    of_pools = _upkeep_of_node_pools() if has_node_pools else dg.Definitions()
    return dg.Definitions.merge(of_pools, _upkeep_of_models(specs))


def _upkeep_of_node_pools() -> dg.Definitions:
    check = live_node_pools_check()
    job = _job_of_checks("live_node_pools", [check], "Look for misspelt requirements in the cluster's node pools.")
    when = "Every night: are the requirements of the node pools in the cluster known, and do they restrict anything?"
    return dg.Definitions(asset_checks=[check], jobs=[job], schedules=[_schedule(job, "27 3 * * *", when)])


def _upkeep_of_models(specs: Sequence[ModelSpec]) -> dg.Definitions:
    if not specs:
        return dg.Definitions()
    staged, drift, capacity = [staged_bytes_check(spec) for spec in specs], drift_checks(specs), capacity_checks(specs)
    suites = [(spec, live_evaluation_checks(spec)) for spec in specs if spec.has_agent]
    verify = _job_of_checks(
        "verify_staged",
        staged,
        "Read a random share of what is live and last good in S3, and compare it with its manifest.",
    )
    compare = _job_of_checks(
        "live_drift", [drift], "Compare the live releases' objects in the cluster with what this code renders."
    )
    look = _job_of_checks(
        "live_capacity",
        [capacity],
        "Ask whether the capacity of what is live lasts, and whether a next release would fit beside it.",
    )
    evaluate = [(spec, evaluation_job(spec, suite)) for spec, suite in suites]
    return dg.Definitions(
        asset_checks=[*staged, drift, capacity, alert_checks(specs), *(suite for _, suite in suites)],
        jobs=[verify, compare, look, *(job for _, job in evaluate)],
        schedules=[
            _schedule(
                verify,
                "17 3 * * *",
                "Every night: are the staged models that are in use still what their manifests say?",
            ),
            drift_schedule(specs, compare, drift),
            _schedule(
                look,
                "7 */6 * * *",
                "Every six hours: do the reservations last for another day, and would a next release fit?",
            ),
            *(evaluation_schedule(spec, job, cron) for spec, job in evaluate if (cron := spec.refresh.evaluation)),
        ],
    )


def drift_schedule(specs: Sequence[ModelSpec], job: Any, check: dg.AssetChecksDefinition) -> dg.ScheduleDefinition:
    """Return the hourly schedule. It leaves out models with a run, a watch or a rollback."""
    keys = {key.asset_key.path[0]: key for key in check.check_keys}

    @dg.schedule(
        name="live_drift",
        job=job,
        cron_schedule="37 * * * *",
        execution_timezone="UTC",
        default_status=RUNNING,
        description="Every hour, but not in a rollout: are the live releases' objects those that this code renders?",
    )
    def live_drift(context: dg.ScheduleEvaluationContext, store: StoreResource) -> dg.RunRequest | dg.SkipReason:
        why_not = {spec.name: _why_not(context, store, spec) for spec in specs}
        quiet = [keys[name] for name, why in why_not.items() if not why]
        if not quiet:
            return dg.SkipReason("\n".join(f"{name}: {why}" for name, why in why_not.items()))
        return dg.RunRequest(asset_check_keys=quiet)

    return live_drift


def evaluation_job(spec: ModelSpec, check: dg.AssetChecksDefinition) -> Any:
    description = f"Put the live agent of {spec.name} through its suite again. Moves no traffic, whatever it finds."
    return _job_of_checks(f"evaluate_{spec.group}", [check], description)


def evaluation_schedule(spec: ModelSpec, job: Any, cron: str) -> dg.ScheduleDefinition:
    """Return the schedule of a model's evaluations. It leaves out the ticks of a rollout and of a watch."""

    @dg.schedule(
        name=f"evaluate_{spec.group}",
        job=job,
        cron_schedule=cron,
        execution_timezone=spec.refresh.timezone,
        default_status=RUNNING,
        description=f"Does the live release of {spec.name} still pass its suite? Not in a rollout, nor while watched.",
    )
    def evaluate(context: dg.ScheduleEvaluationContext, store: StoreResource) -> dg.RunRequest | dg.SkipReason:
        why_not = _why_not(context, store, spec)
        return dg.SkipReason(f"{spec.name}: {why_not}") if why_not else dg.RunRequest()

    return evaluate


def _job_of_checks(name: str, checks: Sequence[dg.AssetChecksDefinition], description: str) -> Any:
    """Return a job that asks these checks and materializes nothing."""
    selection = dg.AssetSelection.checks(*checks)
    return dg.define_asset_job(name, selection=selection, tags={UPKEEP_TAG: "true"}, description=description)


def _schedule(job: Any, cron: str, description: str) -> dg.ScheduleDefinition:
    """Return a schedule with the name of its job, which it starts whatever else is under way."""
    return dg.ScheduleDefinition(
        name=job.name,
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=RUNNING,
        description=description,
    )


def _why_not(context: dg.ScheduleEvaluationContext, store: StoreResource, spec: ModelSpec) -> str:
    """Return why the model is left alone. When the store does not answer, the run shows it."""
    try:
        return why_busy(store.records(), spec, runs_under_way(context.instance))
    except GenaiError:
        return ""
