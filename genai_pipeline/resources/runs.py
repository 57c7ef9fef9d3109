"""The runs of this Dagster instance that are queued or under way."""

from collections.abc import Sequence

import dagster as dg

from genai_pipeline.staging.prune import Reference

PARTITION_TAG = "dagster/partition"

UNDER_WAY: Sequence[dg.DagsterRunStatus] = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def references_of_runs(instance: dg.DagsterInstance) -> list[Reference]:
    """The revisions of the releases that runs are about, whoever launched them; a release is a run's partition."""
    found: list[Reference] = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY)):
        run = record.dagster_run
        release = run.tags.get(PARTITION_TAG)
        if release:
            found.append(Reference("", release.partition("-")[0], f"the run {run.run_id[:8]} is under way"))
    return found
