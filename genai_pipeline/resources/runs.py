"""The runs of this Dagster instance that are queued or under way."""

from collections.abc import Iterable, Sequence

import dagster as dg

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Phase
from genai_pipeline.core.run_tags import MODEL_TAG, PARTITION_TAG
from genai_pipeline.rollout.control.controller import ROLLOUT_JOBS, ActiveRun
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.staging.prune_decision import Reference

TAKES_ROOM = "capacity"
"""A run that a user composed in the UI counts as a rollout if it has this asset."""

UNDER_WAY: Sequence[dg.DagsterRunStatus] = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def runs_under_way(instance: dg.DagsterInstance) -> list[ActiveRun]:
    """Return the runs of all models by one query, launched by the sensor or by a user."""
    records = instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY))
    return [found for record in records for found in _of(record.dagster_run)]


def _of(run: dg.DagsterRun) -> Iterable[ActiveRun]:
    """A run of the pipeline's jobs names its model; another run has it in the keys of its assets."""
    selected = {tuple(key.path) for key in run.asset_selection or () if len(key.path) == 2}
    models = {run.tags[MODEL_TAG]} if MODEL_TAG in run.tags else {model for model, _ in selected} - {"platform"}
    release = run.tags.get(PARTITION_TAG) or ""
    for model in models:
        rolls_out = run.job_name.startswith(ROLLOUT_JOBS) or (model, TAKES_ROOM) in selected
        yield ActiveRun(model, f"{run.job_name} of {release or model} (run {run.run_id[:8]})", rolls_out)


def references_of_runs(instance: dg.DagsterInstance) -> list[Reference]:
    """Return the revisions that runs need, launched by the sensor or by a user. A release is a run's partition."""
    found: list[Reference] = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=UNDER_WAY)):
        run = record.dagster_run
        release = run.tags.get(PARTITION_TAG)
        if release:
            found.append(Reference("", release.partition("-")[0], f"the run {run.run_id[:8]} is under way"))
    return found


def why_busy(records: Records, spec: ModelSpec, under_way: Sequence[ActiveRun]) -> str:
    """Return what is under way, or an empty text. Raises: StoreUnavailable."""
    busy = next((run.what for run in under_way if run.model == spec.name), "")
    if busy:
        return f"{busy} is under way"
    live = records.live(spec.name)
    if live is None:
        return "no release is live"
    if live.watched_until:
        return f"{live.release} is being watched until {live.watched_until}"
    record = records.get(spec.name, live.release)
    if record is None or record.phase is Phase.ROLLED_BACK:
        return f"{live.release} is being rolled back" if record else f"{live.release} has no record"
    return ""
