"""An endpoint of AWS that gives the answers of a script, one for each request, and the last one for ever.

Shapes of errors: EC2 (query protocol) and S3 (REST, XML) as botocore's own parsers read them, the agent of EKS Pod
Identity as text. Source: EC2 API reference, "Error codes"; S3 API reference, "Error responses".
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler

from tests.fakes.listening import Listening

Answer = tuple[int, str]

SECRET_KEY, TOKEN = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "IQoJb3JpZ2luX2VjE" + "a1B2/c3+" * 40 + "=="


def credentials(lasts: str = "2100-01-01T00:00:00Z") -> Answer:
    """What the agent of EKS Pod Identity gives to a pod."""
    given = {"AccessKeyId": "ASIAEXAMPLE", "SecretAccessKey": SECRET_KEY, "Token": TOKEN, "AccountId": "123456789012"}
    return 200, json.dumps({**given, "Expiration": lasts})


def ec2_error(status: int, code: str, message: str) -> Answer:
    error = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return status, f"<Response>{error}<RequestID>r-1</RequestID></Response>"


def s3_error(status: int, code: str, message: str, more: str = "") -> Answer:
    return status, f"<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>r-1</RequestId></Error>"


def s3_list() -> Answer:
    return (
        200,
        "<ListBucketResult><Name>genai</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>",
    )


def no_reservations() -> Answer:
    return 200, "<DescribeCapacityReservationsResponse><capacityReservationSet/></DescribeCapacityReservationsResponse>"


class AwsEndpoint(Listening):
    def __init__(self, *script: Answer) -> None:
        super().__init__(_Scripted)
        self._script = list(script)
        self.authorizations: list[str] = []

    @property
    def requests(self) -> int:
        return len(self.authorizations)

    def next_answer(self, authorization: str) -> Answer:
        self.authorizations.append(authorization)
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


class _Scripted(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, body = self.server.fake.next_answer(self.headers.get("Authorization", ""))  # type: ignore[attr-defined]
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_POST = do_PUT = do_GET  # noqa: N815
