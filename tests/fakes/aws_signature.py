"""Checks a signature of AWS as the service does: it makes the signature again, by botocore, and compares.

Words of refusals as AWS writes them. Source: AWS General Reference, "Troubleshoot Signature Version 4 signing".
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

UNSIGNED = "Missing Authentication Token"
UNKNOWN_KEY = "The security token included in the request is invalid."
OTHER_REGION = "Credential should be scoped to a valid region."
OTHER_SIGNATURE = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
ALGORITHM = "AWS4-HMAC-SHA256 "
STAMP = "%Y%m%dT%H%M%SZ"
TOLERATED = timedelta(minutes=5)


@dataclass(frozen=True)
class Signed:
    """A request as it came. Names of headers are compared without case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        """Return a header, or an empty text without it."""
        return next((value for known, value in self.headers.items() if known.lower() == name.lower()), "")


def refusal(request: Signed, keys: Mapping[str, str], region: str, service: str, now: datetime) -> str | None:
    """Return why AWS refuses a request, or None where the signature is right.

    Args:
        keys: access key -> secret key.
        now: the service's clock.
    """
    said = request.header("Authorization")
    if not said.startswith(ALGORITHM):
        return UNSIGNED
    parts = dict(part.strip().split("=", 1) for part in said.removeprefix(ALGORITHM).split(","))
    key, _, scope = parts["Credential"].partition("/")
    if key not in keys:
        return UNKNOWN_KEY
    if scope.split("/")[1:] != [region, service, "aws4_request"]:
        return OTHER_REGION
    if skewed := _skewed(request.header("X-Amz-Date"), now):
        return skewed
    again = _signature(
        request, parts["SignedHeaders"].split(";"), SigV4Auth(Credentials(key, keys[key]), service, region)
    )
    return None if hmac.compare_digest(again, parts["Signature"]) else OTHER_SIGNATURE


def _skewed(stamp: str, now: datetime) -> str | None:
    at = datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    oldest, newest, said = ((now + by).strftime(STAMP) for by in (-TOLERATED, TOLERATED, timedelta(0)))
    if at < now - TOLERATED:
        return f"Signature expired: {stamp} is now earlier than {oldest} ({said} - 5 min.)"
    if at > now + TOLERATED:
        return f"Signature not yet current: {stamp} is still later than {newest} ({said} + 5 min.)"
    return None


def _signature(request: Signed, names: list[str], signer: SigV4Auth) -> str:
    """Sign exactly the headers that the client says it signed."""
    headers = {name: request.header(name) for name in names}
    made = AWSRequest(request.method, request.url, headers=headers, data=request.body)
    made.context["timestamp"] = request.header("X-Amz-Date")
    return str(signer.signature(signer.string_to_sign(made, signer.canonical_request(made)), made))
