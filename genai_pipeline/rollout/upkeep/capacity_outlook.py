"""Judge whether the capacity of the live release lasts, and whether a next release would fit beside it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Verdict, inconclusive, passed
from genai_pipeline.gateways import Gateways
from genai_pipeline.rollout.capacity.capacity_plan import plan_capacity
from genai_pipeline.rollout.capacity.downtime import expected_downtime
from genai_pipeline.rollout.capacity.reservation import judge_reservation
from genai_pipeline.rollout.capacity.standing import Standing
from genai_pipeline.rollout.capacity.survey import reservations, survey
from genai_pipeline.rollout.upkeep.drift_detection import as_released

LASTS, FITS = "reservation_lasts", "next_surge_fits"
AHEAD = timedelta(hours=24)
"""A reservation that ends sooner leaves too little time to get another one."""


def judge_live_capacity(gateways: Gateways, profile: Profile, spec: ModelSpec, record: Record | None) -> list[Verdict]:
    """Return the verdicts reservation_lasts and next_surge_fits.

    Args:
        record: of the live release; None: no release is live.
    Raises: ClusterUnavailable, StoreUnavailable.
    """
    if record is None:
        return [passed(name, "No release is live: it needs no capacity.") for name in (LASTS, FITS)]
    own, release = as_released(spec, record)
    found = survey(gateways, profile, own, release, release.id)
    room, unread = reservations(gateways, own, AHEAD, found.instance_types)
    lasts = judge_reservation(own, room, unread, needed=0)  # its replicas use the reservation already
    plan = plan_capacity(own, found, Standing(live=release.id), lambda: expected_downtime(own, [record]))
    return [replace(lasts, check=LASTS), replace(plan.verdicts[0], check=FITS)]


def not_judged(error: GenaiError) -> list[Verdict]:
    return [inconclusive(name, str(error)) for name in (LASTS, FITS)]
