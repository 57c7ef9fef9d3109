"""The sensor `notifications`: posts what happened to the webhook."""

import dagster as dg

from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.rollout.record.delivery import Delivery

_deliveries: dict[tuple[Profile, ObjectStore], Delivery] = {}
"""Kept from tick to tick: each has a round in a thread of its own."""


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Posts what happened to GENAI_WEBHOOK_URL, where that is set: rejections, rollbacks, what waits.",
)
def notifications(rollout: RolloutResource) -> dg.SkipReason:
    """Start nothing. The tick ends within seconds, whatever the webhook does."""
    engines = rollout.engines()
    installation = engines.profile, engines.gateways.store
    if installation not in _deliveries:
        _deliveries[installation] = engines.delivery()
    return dg.SkipReason(_deliveries[installation].tick())
