"""EC2's answers in the shapes that botocore's own models check, since no AWS is asked here."""

from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from genai_pipeline.core.errors import Refused, Unavailable
from genai_pipeline.core.model_spec import ReservationTerm
from genai_pipeline.gateways.aws.abc import Reservation
from genai_pipeline.gateways.aws.ec2 import Ec2

ENDS = datetime(2026, 3, 1, 11, 30, tzinfo=UTC)


def described(id="cr-0a1b", **changes):
    return {
        "CapacityReservationId": id,
        "OwnerId": "123456789012",
        "InstanceType": "p5.48xlarge",
        "InstancePlatform": "Linux/UNIX",
        "AvailabilityZone": "us-east-1a",
        "Tenancy": "default",
        "TotalInstanceCount": 2,
        "AvailableInstanceCount": 1,
        "EbsOptimized": True,
        "State": "active",
        "EndDate": ENDS,
        "EndDateType": "limited",
        "InstanceMatchCriteria": "targeted",
        "ReservationType": "capacity-block",
    } | changes


def instance(type, cores, threads=2, **more):
    return {"InstanceType": type, "CpuOptions": {"CoreCount": cores, "ThreadsPerCore": threads}, **more}


class Aws:
    """Stubbed clients; every call that the gateway makes has to have been expected, with its parameters."""

    def __init__(self):
        secrets = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
        self.clients = {name: boto3.client(name, **secrets) for name in ("ec2", "service-quotas")}
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        self.gateway = Ec2("us-east-1", self.clients.__getitem__)

    def answer(self, service, method, answer, **expected):
        self.stubs[service].add_response(method, answer, expected)

    def refuse(self, service, method, code, status=400):
        self.stubs[service].add_client_error(method, code, http_status_code=status)


@pytest.fixture
def aws():
    made = Aws()
    yield made
    for stub in made.stubs.values():
        stub.assert_no_pending_responses()


def test_a_capacity_block_is_read_with_its_count_and_its_end(aws):
    found = {"CapacityReservations": [described()]}
    aws.answer("ec2", "describe_capacity_reservations", found, CapacityReservationIds=["cr-0a1b"])

    (reservation,) = aws.gateway.reservations([ReservationTerm(id="cr-0a1b")])

    assert reservation == Reservation("cr-0a1b", "p5.48xlarge", "us-east-1a", "active", 2, 1, "capacity-block", ENDS)


def test_an_open_ended_reservation_has_no_end(aws):
    endless = {k: v for k, v in described(ReservationType="default").items() if k != "EndDate"}
    found = {"CapacityReservations": [endless]}
    aws.answer("ec2", "describe_capacity_reservations", found, CapacityReservationIds=["cr-0a1b"])

    (reservation,) = aws.gateway.reservations([ReservationTerm(id="cr-0a1b")])

    assert (reservation.kind, reservation.ends_at) == ("default", None)


def test_tags_and_owner_are_asked_for_together_and_pages_are_followed(aws):
    filters = [
        {"Name": "tag:app", "Values": ["chat"]},
        {"Name": "tag:team", "Values": ["ml"]},
        {"Name": "owner-id", "Values": ["123456789012"]},
    ]
    first = {"CapacityReservations": [described("cr-2")], "NextToken": "more"}
    rest = {"CapacityReservations": [described("cr-1")]}
    aws.answer("ec2", "describe_capacity_reservations", first, Filters=filters)
    aws.answer("ec2", "describe_capacity_reservations", rest, Filters=filters, NextToken="more")

    found = aws.gateway.reservations([ReservationTerm(tags={"team": "ml", "app": "chat"}, owner="123456789012")])

    assert [r.id for r in found] == ["cr-1", "cr-2"]


def test_one_that_two_terms_select_counts_once(aws):
    found = {"CapacityReservations": [described()]}
    aws.answer("ec2", "describe_capacity_reservations", found, CapacityReservationIds=["cr-0a1b"])
    aws.answer("ec2", "describe_capacity_reservations", found, Filters=[{"Name": "tag:app", "Values": ["chat"]}])

    assert len(aws.gateway.reservations([ReservationTerm(id="cr-0a1b"), ReservationTerm(tags={"app": "chat"})])) == 1


def test_an_id_that_does_not_exist_selects_nothing(aws):
    aws.refuse("ec2", "describe_capacity_reservations", "InvalidCapacityReservationId.NotFound")

    assert aws.gateway.reservations([ReservationTerm(id="cr-0dead")]) == []


def quota(value, name="Running On-Demand G and VT instances"):
    return {"Quota": {"ServiceCode": "ec2", "QuotaName": name, "Value": value, "Unit": "None"}}


def test_the_quota_of_a_family_counts_on_demand_vcpus_of_its_group_only(aws):
    aws.answer("service-quotas", "get_service_quota", quota(96), ServiceCode="ec2", QuotaCode="L-DB2E81BA")
    running = [
        instance("g6e.2xlarge", 4),
        instance("gr6.4xlarge", 8),
        instance("g6e.xlarge", 2, InstanceLifecycle="spot"),
        instance("p5.48xlarge", 96, InstanceLifecycle="capacity-block"),
    ]
    aws.answer(
        "ec2",
        "describe_instances",
        {"Reservations": [{"Instances": running[:2]}, {"Instances": running[2:]}]},
        Filters=[
            {"Name": "instance-state-name", "Values": ["pending", "running"]},
            {"Name": "instance-type", "Values": ["g*", "gr*", "vt*"]},
        ],
    )

    found = aws.gateway.vcpu_quota("g6e")

    assert (found.limit, found.used) == (96, 24)


def test_families_that_only_begin_alike_are_not_counted(aws):
    aws.answer("service-quotas", "get_service_quota", quota(64), ServiceCode="ec2", QuotaCode="L-1216C47A")
    found = {"Reservations": [{"Instances": [instance("i4i.large", 1), instance("inf2.xlarge", 2)]}]}
    aws.stubs["ec2"].add_response("describe_instances", found)

    assert aws.gateway.vcpu_quota("m7i").used == 2


def test_a_family_of_no_known_quota_is_not_asked_for(aws):
    assert aws.gateway.vcpu_quota("hpc8a") is None


@pytest.mark.parametrize(
    ("code", "status", "error", "means"),
    [
        ("UnauthorizedOperation", 403, Refused, "Grant it to the role."),
        ("ExpiredToken", 400, Refused, "Get new ones"),
        ("RequestLimitExceeded", 503, Unavailable, "Try again later."),
        ("InternalError", 500, Unavailable, "ec2:DescribeCapacityReservations"),
    ],
)
def test_what_aws_answers_instead_becomes_an_error_of_ours(aws, code, status, error, means):
    aws.refuse("ec2", "describe_capacity_reservations", code, status)

    with pytest.raises(error, match=means):
        aws.gateway.reservations([ReservationTerm(id="cr-0a1b")])


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url="https://ec2.us-east-1.amazonaws.com"),
        FileNotFoundError(2, "No such file", "/var/run/secrets/token"),  # of a web identity, which boto3 lets through
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
    ],
)
def test_an_endpoint_or_credentials_that_are_not_there_are_unavailable(error):
    class Nowhere:
        def get_paginator(self, _):
            raise error

    with pytest.raises(Unavailable, match="Check region, credentials and network"):
        Ec2("us-east-1", lambda _: Nowhere()).reservations([ReservationTerm(id="cr-0a1b")])
