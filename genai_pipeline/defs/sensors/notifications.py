"""The sensor `notifications`: posts what happened to the webhook."""

import dagster as dg

from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines, kept

delivery_of = kept(Engines.delivery)


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Posts what happened to GENAI_WEBHOOK_URL, where that is set: rejections, rollbacks, what waits.",
)
def notifications(rollout: RolloutResource) -> dg.SkipReason:
    """Start nothing. The tick ends within seconds, whatever the webhook does."""
    return dg.SkipReason(delivery_of(rollout.engines()).tick())
