"""Adds to boto3's own retries, and waits as long as a server asks.

A pod's role may be new: what AWS denies before it answered once is asked again for half a minute (`_FirstAnswer`).
boto3's standard mode repeats 5xx, time-outs and broken connections. It does not repeat a body that was damaged on its
way, or a conditional write that met another one. It ignores Retry-After, and accepts a 200 of any proxy as an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError

from genai_pipeline.gateways.aws.denials import denial
from genai_pipeline.gateways.aws.pod_identity import has_pod_identity
from genai_pipeline.gateways.backoff import backoff_s, retry_after_s

_log = logging.getLogger(__name__)
ATTEMPTS = 5
FIRST_DENIED_S = 2.0
FIRST_WAIT_S = 0.25
AGAIN = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentSHA256Mismatch",
    "XAmzContentChecksumMismatch",
    "IncompleteBody",
    "ConditionalRequestConflict",
    "OperationAborted",
}
"""Source: Amazon S3 API Reference, "List of error codes"; "Conditional writes" for the conflict."""
_NAMES = {
    "PutObject": "ETag",
    "UploadPart": "ETag",
    "CreateMultipartUpload": "UploadId",
    "CompleteMultipartUpload": "ETag",
    "CopyObject": "CopyObjectResult",
    "UploadPartCopy": "CopyPartResult",
    "GetObject": "ETag",
    "HeadObject": "ETag",
    "ListObjectsV2": "Name",
}
"""The field that every answer to an operation has."""


class NoAnswerOfAnS3(BotoCoreError):
    """A success without the field that every such answer has."""

    fmt = "the answer to {operation} names no {field}"


def add_retries(client: Any) -> None:
    """Add these retries to a client of boto3."""
    client.meta.events.register_first("needs-retry.s3", _wait_s)
    client.meta.events.register("after-call.s3", _require_an_answer)
    if has_pod_identity():
        first = _FirstAnswer()
        client.meta.events.register_first("needs-retry.s3", first.wait_s)
        client.meta.events.register("after-call.s3", first.note)


class _FirstAnswer:
    """Waits while AWS denies what a new role may do, until S3 has answered once: permissions spread within a minute."""

    def __init__(self) -> None:
        self._came = False

    def note(self, http_response: Any, **_: Any) -> None:
        self._came = self._came or http_response.status_code < 300

    def wait_s(self, response: tuple[Any, Mapping[str, Any]] | None, attempts: int, **_: Any) -> float | None:
        """Return the seconds until the next attempt: 2, 4, 8 and 16. None: time does not help, or S3 knows the role."""
        if response is None or self._came or attempts >= ATTEMPTS:
            return None
        http, parsed = response
        error = parsed.get("Error", {})
        found = denial(str(error.get("Code", "")), str(error.get("Message", ""))) if http.status_code == 403 else None
        if found is None or not found.may_pass:
            return None
        if attempts == 1:
            _log.warning("S3 denies the role of this pod, which may be new. Asking for half a minute: %s", found.what)
        return backoff_s(attempts, FIRST_DENIED_S)


def _wait_s(response: tuple[Any, Mapping[str, Any]] | None, operation: Any, attempts: int, **_: Any) -> float | None:
    """Return the seconds until the next attempt; None leaves the decision to boto3's own handler."""
    if response is None or attempts >= ATTEMPTS:
        return None
    http, parsed = response
    asked_s = retry_after_s(http.headers)
    if http.status_code in (429, 503) and asked_s is not None:
        return backoff_s(attempts, FIRST_WAIT_S, asked_s)
    code = str(parsed.get("Error", {}).get("Code", ""))
    if code in AGAIN or http.status_code == 429 or _missing(operation.name, http.status_code, parsed):
        return backoff_s(attempts, FIRST_WAIT_S)
    return None


def _require_an_answer(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
    field = _missing(model.name, http_response.status_code, parsed)
    if field:
        raise NoAnswerOfAnS3(operation=model.name, field=field)


def _missing(operation: str, status: int, parsed: Mapping[str, Any]) -> str | None:
    field = _NAMES.get(operation)
    return field if field and status < 300 and field not in parsed and "Error" not in parsed else None
