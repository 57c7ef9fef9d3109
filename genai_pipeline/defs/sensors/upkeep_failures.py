"""The sensor `upkeep_failures`: a schedule that fails in silence is worse than no schedule."""

import dagster as dg

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.run_tags import UPKEEP_TAG
from genai_pipeline.resources.configured import StoreResource


@dg.run_failure_sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes a notice when a run of a schedule fails.",
)
def upkeep_failures(context: dg.RunFailureSensorContext, store: StoreResource) -> None:
    """Write a notice for a failed run of upkeep. A failed rollout has a record, which says more."""
    if UPKEEP_TAG not in context.dagster_run.tags:
        return
    job = context.dagster_run.job_name
    text = f"A run of the job {job} failed; its log says why. Its schedule tries again."
    try:
        store.notices().write(Notice(NoticeKind.UPKEEP_FAILED, "platform", job, text, utc_now()))
    except GenaiError as error:
        context.log.error(str(error))
