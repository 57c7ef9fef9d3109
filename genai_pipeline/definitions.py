"""The code location. Reads models/*.yaml and builds the graph; touches no network and needs no environment."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import dagster as dg

from genai_pipeline.assets.agent_candidate import AGENT_CANDIDATE
from genai_pipeline.assets.agent_report import AGENT_REPORT
from genai_pipeline.assets.approving import approve_op
from genai_pipeline.assets.candidate import CANDIDATE
from genai_pipeline.assets.capacity import CAPACITY
from genai_pipeline.assets.live import LIVE
from genai_pipeline.assets.platform import platform_assets
from genai_pipeline.assets.pruning import prune_op
from genai_pipeline.assets.serving_report import SERVING_REPORT
from genai_pipeline.assets.snapshot import SNAPSHOT
from genai_pipeline.assets.staged_bytes import staged_bytes_check
from genai_pipeline.assets.staged_model import STAGED_MODEL
from genai_pipeline.automation.going_back import roll_back_job
from genai_pipeline.automation.rollouts import (
    approve_job,
    promote_job,
    releases_of,
    rollout_job,
    version_sensors,
)
from genai_pipeline.automation.upkeep import prune_job, prune_schedule, verify_job, verify_schedule
from genai_pipeline.automation.watching import live_watch_sensor
from genai_pipeline.core.model_file import ModelFiles, read_models
from genai_pipeline.resources.platform import Platform

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
    # Forked from one warm server, a step starts in a fraction of a second instead of importing everything anew.
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
    return definitions_of(files, Platform())


def definitions_of(files: ModelFiles, platform: Platform) -> dg.Definitions:
    """The graph, jobs, sensors and schedules of these models on this platform."""
    checks = [staged_bytes_check(spec) for spec in files.specs]
    rollouts = [rollout_job(spec, dg.AssetSelection.checks(*checks)) for spec in files.specs]
    rollouts += [promote_job(spec) for spec in files.specs]
    verify, prune = [verify_job(checks)] if checks else [], prune_job(prune_op(files))
    back, tick_s = roll_back_job(), platform.profile.tick_s
    models = [asset.build(spec, releases_of(spec)) for spec in files.specs for asset in MODEL_ASSETS]
    return dg.Definitions(
        assets=[*platform_assets(files), *models],
        asset_checks=checks,
        jobs=[*rollouts, approve_job(approve_op()), back, *verify, prune],
        sensors=[*version_sensors(files, rollouts, tick_s), live_watch_sensor(files, back, tick_s)],
        schedules=[*map(verify_schedule, verify), prune_schedule(prune)],
        resources={"platform": platform},
        executor=EXECUTOR,
    )
