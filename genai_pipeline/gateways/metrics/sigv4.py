"""Signs requests to Amazon Managed Prometheus with the credentials that boto3 would use."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import httpx

from genai_pipeline.core.errors import AccessDenied, EngineUnavailable
from genai_pipeline.gateways.aws.denials import RENEW, safe_words
from genai_pipeline.gateways.aws.pod_identity import REMEDY, has_pod_identity


class SigV4(httpx.Auth):
    """AWS Signature Version 4 for the service `aps`."""

    requires_request_body = True

    def __init__(self, region: str) -> None:
        from botocore.session import Session

        self.region = region
        self._session = Session()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        keys = self._keys()
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        signed = AWSRequest(request.method, str(request.url), headers=headers, data=request.content)
        SigV4Auth(keys, "aps", self.region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        yield request

    def _keys(self) -> Any:
        from botocore.exceptions import BotoCoreError

        try:
            credentials = self._session.get_credentials()
            keys = credentials and credentials.get_frozen_credentials()
        except (
            BotoCoreError,
            OSError,
            RuntimeError,
        ) as error:  # RuntimeError: renewed credentials that have expired already
            raise EngineUnavailable(
                f"Prometheus cannot be asked: there are no AWS credentials now ({safe_words(str(error))}).",
                REMEDY if has_pod_identity() else RENEW,
            ) from error
        if keys is None:
            raise AccessDenied(
                "No AWS credentials to ask Prometheus with.", "Set a role, a profile or AWS_* variables."
            )
        return keys
