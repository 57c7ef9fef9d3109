"""What tells people: the sensor that sends notices on, and the one that notices when upkeep itself fails."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.resources.platform import Platform

TICK_S = 30


def notification_sensor() -> dg.SensorDefinition:
    """Starts nothing. Its tick ends within seconds, whatever the webhook does."""

    @dg.sensor(
        name="notifications",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts what happened to GENAI_WEBHOOK_URL, where that is set: rejections, rollbacks, what waits.",
    )
    def notifications(platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
        return dg.SkipReason(platform.delivery.tick())

    return notifications


def upkeep_failures(jobs: Sequence[Any]) -> dg.SensorDefinition:
    """A schedule that fails in silence is worse than none."""

    @dg.run_failure_sensor(
        name="upkeep_failures",
        monitored_jobs=list(jobs),
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Writes a notice when a run of a schedule fails.",
    )
    def upkeep_failed(context: dg.RunFailureSensorContext, platform: dg.ResourceParam[Platform]) -> None:
        job = context.dagster_run.job_name
        text = f"A run of the job {job} failed; its log says why. Its schedule tries again."
        try:
            platform.notices.write(Notice(NoticeKind.UPKEEP_FAILED, "platform", job, text, utc_now()))
        except GenaiError as error:
            context.log.error(str(error))

    return upkeep_failed
