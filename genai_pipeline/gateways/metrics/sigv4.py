"""Sign requests to Amazon Managed Prometheus with the credentials that boto3 would use."""

from __future__ import annotations

from collections.abc import Generator

import httpx

from genai_pipeline.core.errors import AccessDenied


class SigV4(httpx.Auth):
    """AWS Signature Version 4 for the service `aps`."""

    requires_request_body = True

    def __init__(self, region: str) -> None:
        from botocore.session import Session

        self._region = region
        self._session = Session()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = self._session.get_credentials()
        if credentials is None:
            raise AccessDenied(
                "No AWS credentials to ask Prometheus with.", "Set a role, a profile or AWS_* variables."
            )
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        signed = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
        SigV4Auth(credentials.get_frozen_credentials(), "aps", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request
