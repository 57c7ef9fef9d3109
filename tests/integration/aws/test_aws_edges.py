"""What AWS answers on a bad day, to the real boto3: late credentials, new roles, throttling, denials, old tokens."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from botocore.utils import ContainerMetadataFetcher

from genai_pipeline.core.errors import AccessDenied, Refused, StoreUnavailable, Unavailable
from genai_pipeline.core.model_spec import ReservationTerm
from genai_pipeline.gateways.aws import pod_identity
from genai_pipeline.gateways.aws.ec2 import Ec2
from genai_pipeline.gateways.store import s3_retries
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.gateways.store.s3_settings import S3Settings
from tests.fakes.aws_endpoint import (
    SECRET_KEY,
    TOKEN,
    AwsEndpoint,
    credentials,
    ec2_error,
    no_reservations,
    s3_error,
    s3_list,
)

NO_ROLE = (
    400,
    "[03f4e5a6-0000]: (AccessDeniedException): Unauthorized Exception! EKS does not have permissions to assume the "
    "associated role., fault: client",
)
"""Of the agent, for a role or an association that AWS does not know everywhere yet."""
USER = "User: arn:aws:sts::123456789012:assumed-role/genai-pipeline/eks-genai-a1b2 is not authorized to perform:"
TERMS = [ReservationTerm(id="cr-0a1b")]
NEW_ROLE = s3_error(
    403, "AccessDenied", f"{USER} s3:ListBucket because no identity-based policy allows the s3:ListBucket action"
)
BY_SCP = s3_error(403, "AccessDenied", f"{USER} s3:ListBucket with an explicit deny in a service control policy")


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    monkeypatch.setattr(s3_retries, "FIRST_DENIED_S", 0.001)
    monkeypatch.setattr(s3_retries, "FIRST_WAIT_S", 0.001)


@pytest.fixture
def waited(monkeypatch):
    """The waits for credentials, which then take no time; each of them moves the clock."""
    waits: list[float] = []
    monkeypatch.setattr(pod_identity.time, "sleep", waits.append)
    return waits


@pytest.fixture
def pod(monkeypatch, tmp_path):
    """Makes this process look as in a pod whose Pod Identity agent has a script."""
    token = tmp_path / "eks-pod-identity-token"
    token.write_text("eyJhbGciOi.token-of-the-account.signature")

    def given(agent: AwsEndpoint) -> None:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.address}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))

    return given


def store_at(endpoint: AwsEndpoint, **more) -> S3Store:
    return S3Store("genai", S3Settings(endpoint.address, region="eu-west-1", **more))


def test_credentials_that_come_late_are_waited_for_and_told(pod, caplog):
    waits: list[float] = []
    with AwsEndpoint(*[NO_ROLE] * 4, credentials()) as agent, AwsEndpoint(s3_list()) as s3:
        pod(agent)
        assert list(store_at(s3, sleep=waits.append).list("")) == []

    assert len(waits) == 1  # boto3 itself asks three times
    assert set(agent.authorizations) == {"eyJhbGciOi.token-of-the-account.signature"}
    assert "gives no credentials yet" in caplog.text


def test_credentials_that_never_come_end_with_what_to_check(pod, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pod_identity.time, "monotonic", lambda: now[0])

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with AwsEndpoint(NO_ROLE) as agent, AwsEndpoint(s3_list()) as s3:
        pod(agent)
        with pytest.raises(AccessDenied, match=r"does not have permissions to assume.*association binds a role"):
            list(store_at(s3, sleep=sleep).list(""))

    assert s3.requests == 0
    assert 40 < now[0] <= 60


def test_a_pod_that_was_made_before_its_association_says_so(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    with AwsEndpoint(s3_list()) as s3, pytest.raises(AccessDenied, match="association, then restart the pod"):
        list(store_at(s3).list(""))


def test_what_a_new_role_may_not_do_yet_is_asked_again(pod, caplog):
    with AwsEndpoint(credentials()) as agent, AwsEndpoint(NEW_ROLE, NEW_ROLE, s3_list()) as s3:
        pod(agent)
        assert list(store_at(s3).list("")) == []

    assert s3.requests == 3
    assert "may be new" in caplog.text


def test_a_role_that_s3_knows_is_denied_at_once(pod):
    with AwsEndpoint(credentials()) as agent, AwsEndpoint(s3_list(), NEW_ROLE) as s3:
        pod(agent)
        store = store_at(s3)
        assert list(store.list("")) == []
        with pytest.raises(AccessDenied, match=r"No identity-based policy allows s3:ListBucket\. Grant it to the role"):
            list(store.list(""))

    assert s3.requests == 2


def test_a_service_control_policy_ends_at_once_and_names_who_can_change_it(pod):
    with AwsEndpoint(credentials()) as agent, AwsEndpoint(BY_SCP) as s3:
        pod(agent)
        with pytest.raises(AccessDenied, match=r"service control policy denies s3:ListBucket.*AWS organization"):
            list(store_at(s3).list(""))

    assert s3.requests == 1


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (s3_error(400, "ExpiredToken", "The provided token has expired.", f"<Token-0>{TOKEN}</Token-0>"), AccessDenied,
         "have expired.*restart it"),
        (s3_error(403, "RequestTimeTooSkewed", "The difference is too large."), StoreUnavailable, "Set the clock"),
        (s3_error(400, "KMS.DisabledException", "arn:aws:kms:eu-west-1:1:key/2 is disabled."), AccessDenied,
         "key of the bucket is disabled.*enable-key"),
        (s3_error(403, "SignatureDoesNotMatch", "The request signature we calculated does not match.",
         f"<CanonicalRequest>x-amz-security-token:{TOKEN}</CanonicalRequest>"), AccessDenied, "SignatureDoesNotMatch"),
    ],
)  # fmt: skip
def test_what_time_does_not_mend_ends_at_once_without_a_secret(pod, caplog, answer, error, says):
    caplog.set_level(logging.INFO)
    with AwsEndpoint(credentials()) as agent, AwsEndpoint(answer) as s3:
        pod(agent)
        with pytest.raises(error, match=says) as caught:
            list(store_at(s3).list(""))

    assert s3.requests == 1
    for text in (str(caught.value), caplog.text):
        assert TOKEN[:40] not in text
        assert SECRET_KEY not in text


@pytest.mark.parametrize(
    "answer",
    [
        s3_error(503, "SlowDown", "Please reduce your request rate."),
        s3_error(400, "ThrottlingException", "Rate exceeded"),  # of KMS
    ],
)
def test_throttling_of_s3_is_waited_out(pod, monkeypatch, answer):
    monkeypatch.setattr("time.sleep", lambda _: None)
    with AwsEndpoint(credentials()) as agent, AwsEndpoint(answer, answer, s3_list()) as s3:
        pod(agent)
        assert list(store_at(s3).list("")) == []

    assert s3.requests == 3


def test_throttling_that_lasts_is_no_refusal(pod, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    throttled = s3_error(400, "ThrottlingException", "Rate exceeded")
    with AwsEndpoint(credentials()) as agent, AwsEndpoint(throttled) as s3:
        pod(agent)
        with pytest.raises(StoreUnavailable, match="Rate exceeded"):
            list(store_at(s3).list(""))


@pytest.fixture
def ec2_at(monkeypatch, pod):
    def made(endpoint: AwsEndpoint) -> Ec2:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EC2", endpoint.address)
        return Ec2("eu-west-1")

    monkeypatch.setattr("time.sleep", lambda _: None)
    with AwsEndpoint(credentials()) as agent:
        pod(agent)
        yield made


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "Throttling"])
def test_throttling_of_ec2_is_waited_out(ec2_at, code):
    answer = ec2_error(503, code, "Request limit exceeded.")
    with AwsEndpoint(answer, answer, no_reservations()) as ec2:
        assert ec2_at(ec2).reservations(TERMS) == []


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (ec2_error(503, "RequestLimitExceeded", "Request limit exceeded."), Unavailable, "Try again later"),
        (ec2_error(400, "RequestExpired", "Request has expired."), Unavailable, "Set the clock"),
        (ec2_error(401, "AuthFailure", "AWS was not able to validate the provided access credentials"), Refused,
         "AuthFailure"),
        (ec2_error(400, "ExpiredTokenException", "The security token is expired"), Refused, "restart it"),
        (ec2_error(403, "UnauthorizedOperation", "You are not authorized to perform this operation. "
         f"{USER} ec2:DescribeCapacityReservations because no permissions boundary allows the "
         f"ec2:DescribeCapacityReservations action. Encoded authorization failure message: {TOKEN}"), Refused,
         "No permissions boundary allows ec2:DescribeCapacityReservations"),
    ],
)  # fmt: skip
def test_what_ec2_refuses_is_named(ec2_at, answer, error, says):
    with AwsEndpoint(answer) as ec2, pytest.raises(error, match=says) as caught:
        ec2_at(ec2).reservations(TERMS)

    assert TOKEN[:40] not in str(caught.value)


def test_credentials_are_renewed_before_they_end(pod):
    soon = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with AwsEndpoint(credentials(soon), credentials()) as agent, AwsEndpoint(s3_list()) as s3:
        pod(agent)
        assert list(store_at(s3).list("")) == []

    assert agent.requests == 2
