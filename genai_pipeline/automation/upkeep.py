"""Jobs and schedules that look after what is staged: verify what is in use, delete what nobody needs."""

from collections.abc import Sequence
from typing import Any

import dagster as dg


def verify_job(checks: Sequence[dg.AssetChecksDefinition]) -> Any:
    """Asks the checks of every model that read staged bytes again, and nothing else."""
    return dg.define_asset_job(
        "verify_staged",
        selection=dg.AssetSelection.checks(*checks),
        description="Read a random share of what is live and last good in S3, and compare it with its manifest.",
    )


def verify_schedule(job: Any) -> dg.ScheduleDefinition:
    """On from the start: it only reads, and whoever has to go back to the last good release must not find it broken."""
    return dg.ScheduleDefinition(
        name="verify_staged",
        job=job,
        cron_schedule="17 3 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Every night: are the staged models that are in use still what their manifests say?",
    )


def prune_job(prune: dg.OpDefinition) -> dg.JobDefinition:
    """One step, with its grace time and a dry run to choose in the launchpad."""
    description = "Delete staged revisions that nothing refers to; see docs/staging.md."
    return dg.GraphDefinition("prune", node_defs=[prune], description=description).to_job()


def prune_schedule(job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Off until somebody switches it on: it deletes, and the bucket may be shared."""
    return dg.ScheduleDefinition(
        name="prune",
        job=job,
        cron_schedule="41 4 * * 0",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Every Sunday: delete staged revisions that nothing has referred to for a week.",
    )
