from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from genai_pipeline.core.errors import Unavailable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Record
from genai_pipeline.core.verdict import Outcome
from genai_pipeline.gateways.aws.abc import Aws, InstanceType, Reservation
from genai_pipeline.rollout.upkeep.capacity_outlook import judge_live_capacity
from tests.fakes.world import EKS, World


class OneReservation(Aws):
    def __init__(self, ends_at=None, state="active", error=None):
        self.found, self.error = Reservation("cr-0a", "g6e.xlarge", "a", state, 2, 0, ends_at=ends_at), error

    def reservations(self, terms):
        if self.error:
            raise self.error
        return [self.found]

    def vcpu_quota(self, family):
        return None

    def instance_types(self):
        return [InstanceType("g6e.xlarge", 4, 32, 1, "l40s", "amd64", 1.5)]


def lasts(aws, reservation="required"):
    gpu = {"instance-family": "g6e", "reservation": reservation, "reservation-terms": [{"id": "cr-0a"}]}
    spec = ModelSpec.model_validate({"name": "tiny", "source": {"hub": "a/b"}, "serving": {"gpu": gpu}})
    record = Record("tiny", "r1", "0" * 40, spec.model_dump(mode="json", by_alias=True))
    gateways = replace(World().gateways(), aws=aws)
    return next(v for v in judge_live_capacity(gateways, EKS, spec, record) if v.check == "reservation_lasts")


def later(hours):
    return datetime.now(UTC) + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("aws", "outcome", "says"),
    [
        (OneReservation(), Outcome.PASSED, ""),
        (OneReservation(later(72)), Outcome.PASSED, ""),
        (OneReservation(later(12)), Outcome.FAILED, "about to expire"),
        (OneReservation(state="expired"), Outcome.FAILED, "it is expired"),
        (OneReservation(error=Unavailable("EC2 did not answer.")), Outcome.INCONCLUSIVE, "EC2 did not answer"),
    ],
)
def test_a_full_reservation_is_enough_for_what_runs_in_it_and_its_end_is_seen_a_day_ahead(aws, outcome, says):
    verdict = lasts(aws)
    assert verdict.outcome is outcome, verdict.summary
    assert says in verdict.summary


def test_an_optional_one_that_ends_is_no_failure():
    assert lasts(OneReservation(later(12)), "optional").passed
