"""What tells people: the sensor that sends notices on, and the one that notices when upkeep itself fails."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.notice import Notice, NoticeKind
from genai_pipeline.core.profile import Profile
from genai_pipeline.resources.configured import RolloutResource, StoreResource
from genai_pipeline.rollout.record.delivery import Delivery

TICK_S = 30


def notification_sensor() -> dg.SensorDefinition:
    """Starts nothing. Its tick ends within seconds, whatever the webhook does."""
    deliveries: dict[Profile, Delivery] = {}  # from tick to tick: each has a round in a thread of its own

    @dg.sensor(
        name="notifications",
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts what happened to GENAI_WEBHOOK_URL, where that is set: rejections, rollbacks, what waits.",
    )
    def notifications(rollout: RolloutResource) -> dg.SkipReason:
        engines = rollout.engines()
        if engines.profile not in deliveries:
            deliveries[engines.profile] = engines.delivery()
        return dg.SkipReason(deliveries[engines.profile].tick())

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
    def upkeep_failed(context: dg.RunFailureSensorContext, store: StoreResource) -> None:
        job = context.dagster_run.job_name
        text = f"A run of the job {job} failed; its log says why. Its schedule tries again."
        try:
            store.notices().write(Notice(NoticeKind.UPKEEP_FAILED, "platform", job, text, utc_now()))
        except GenaiError as error:
            context.log.error(str(error))

    return upkeep_failed
