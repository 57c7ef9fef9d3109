"""The code location. Reads models/*.yaml and builds the graph; touches no network and needs no environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from genai_pipeline.assets.agent_candidate import AGENT_CANDIDATE
from genai_pipeline.assets.agent_report import AGENT_REPORT
from genai_pipeline.assets.approving import approve_op
from genai_pipeline.assets.candidate import CANDIDATE
from genai_pipeline.assets.capacity import CAPACITY
from genai_pipeline.assets.drift import drift_checks
from genai_pipeline.assets.live import LIVE
from genai_pipeline.assets.live_capacity import live_capacity_checks
from genai_pipeline.assets.live_evaluation import live_evaluation_checks
from genai_pipeline.assets.platform import platform_assets
from genai_pipeline.assets.pruning import prune_op
from genai_pipeline.assets.redeploying import redeploy_op
from genai_pipeline.assets.serving_report import SERVING_REPORT
from genai_pipeline.assets.snapshot import SNAPSHOT
from genai_pipeline.assets.staged_bytes import staged_bytes_check
from genai_pipeline.assets.staged_model import STAGED_MODEL
from genai_pipeline.automation.going_back import roll_back_job
from genai_pipeline.automation.notifications import notification_sensor, upkeep_failures
from genai_pipeline.automation.redeploys import redeploy_job, redeploy_sensor
from genai_pipeline.automation.rollouts import (
    approve_job,
    promote_job,
    releases_of,
    rollout_job,
    version_sensors,
)
from genai_pipeline.automation.upkeep import (
    capacity_job,
    capacity_schedule,
    drift_job,
    drift_schedule,
    evaluation_job,
    evaluation_schedule,
    prune_job,
    prune_schedule,
    verify_job,
    verify_schedule,
)
from genai_pipeline.automation.watching import live_watch_sensor
from genai_pipeline.core.model_file import ModelFiles, read_models
from genai_pipeline.core.profile import Profile
from genai_pipeline.resources.configured import ProfileResource, pipeline_resources

MODEL_ASSETS = (
    SNAPSHOT,
    STAGED_MODEL,
    CAPACITY,
    CANDIDATE,
    SERVING_REPORT,
    AGENT_CANDIDATE,
    AGENT_REPORT,
    LIVE,
)

EXECUTOR = dg.multiprocess_executor.configured(
    # Forked from one warm server, a step starts in a fraction of a second instead of importing everything again.
    {"max_concurrent": 4, "start_method": {"forkserver": {"preload_modules": ["genai_pipeline.definitions"]}}}
)


def models_folder() -> Path:
    """`GENAI_MODELS`, or models/ beside the package."""
    return Path(os.environ.get("GENAI_MODELS") or Path(__file__).parents[1] / "models")


@dg.definitions
def defs() -> dg.Definitions:
    """Every model's graph. A wrong model file takes nothing with it but itself: see platform/model_files."""
    files = read_models(models_folder())
    for error in files.errors:
        logging.getLogger("genai_pipeline").error("%s", error)
    profile = ProfileResource.from_environment(os.environ)
    return definitions_of(files, pipeline_resources(profile), Profile.load(os.environ).tick_s)


def definitions_of(files: ModelFiles, resources: Mapping[str, Any], tick_s: int = 30) -> dg.Definitions:
    """Return the graph, jobs, sensors and schedules of these models, on these resources."""
    upkeep = upkeep_of(files)
    kept_out = dg.AssetSelection.checks(*upkeep.checks)
    rollouts = [job(spec, kept_out) for job in (rollout_job, promote_job) for spec in files.specs]
    back = roll_back_job()
    models = [asset.build(spec, releases_of(spec)) for spec in files.specs for asset in MODEL_ASSETS]
    return dg.Definitions(
        assets=[*platform_assets(files), *models],
        asset_checks=upkeep.checks,
        jobs=[*rollouts, approve_job(approve_op()), back, *upkeep.jobs],
        sensors=[
            *version_sensors(files, rollouts, tick_s),
            live_watch_sensor(files, back, tick_s),
            *upkeep.sensors,
        ],
        schedules=upkeep.schedules,
        resources=resources,
        executor=EXECUTOR,
    )


@dataclass(frozen=True)
class Upkeep:
    """What looks after the live releases: the checks, and what asks them."""

    checks: list[dg.AssetChecksDefinition]
    jobs: list[Any]
    sensors: list[dg.SensorDefinition]
    schedules: list[dg.ScheduleDefinition]


def upkeep_of(files: ModelFiles) -> Upkeep:
    """Without a model there is only what the store and the webhook need."""
    specs, prune, redeploy = files.specs, prune_job(prune_op(files)), redeploy_job(redeploy_op(files))
    kept = Upkeep([], [prune, redeploy], [notification_sensor()], [prune_schedule(prune)])
    if specs:
        bytes_checks = [staged_bytes_check(spec) for spec in specs]
        drift, capacity = drift_checks(specs), live_capacity_checks(specs)
        jobs = verify_job(bytes_checks), drift_job(drift), capacity_job(capacity)
        kept.checks.extend([*bytes_checks, drift, capacity])
        kept.jobs.extend(jobs)
        kept.schedules.extend([verify_schedule(jobs[0]), drift_schedule(specs, jobs[1], drift)])
        kept.schedules.append(capacity_schedule(jobs[2]))
        kept.sensors.append(redeploy_sensor(specs, redeploy))
    for spec in specs:
        check = live_evaluation_checks(spec)
        job = evaluation_job(spec, check)
        schedule = evaluation_schedule(spec, job)
        kept.checks.append(check)
        kept.jobs.append(job)
        kept.schedules.extend([schedule] if schedule else [])
    kept.sensors.append(upkeep_failures(kept.jobs))
    return kept
