"""Decides which checksums boto3 adds by itself, because other servers refuse what Amazon S3 takes.

Since 1.36 boto3 adds a CRC32 to each body, and asks for one with each object. Backblaze B2, older MinIO, Ceph and
others answer 400 or 501. `when_required` leaves both out. Only DeleteObjects needs a checksum: it gets an MD5.

Sources: AWS SDKs and Tools Reference Guide, "Data Integrity Protections for Amazon S3"; Amazon S3 API reference,
"DeleteObjects"; Backblaze, "Use the AWS SDK for Java V2 with Backblaze B2".
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from genai_pipeline.gateways.store.checksums import md5

WHEN_REQUIRED = "when_required"
SETTINGS = ("request_checksum_calculation", "response_checksum_validation")
"""Names in boto3's configuration. The variables have the same names in capitals, behind `AWS_`."""
AMAZON = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
"""Ends of host names. Source: AWS General Reference, "AWS service endpoints"."""


def is_amazon(endpoint: str | None) -> bool:
    return endpoint is None or (urlsplit(endpoint).hostname or "").endswith(AMAZON)


def checksum_settings(core: Any, endpoint: str | None) -> dict[str, str]:
    """Return parameters for a Config of boto3. What the user has set is left out, because boto3 reads it.

    Args:
        core: a session of botocore.
        endpoint: as in S3Settings.
    """
    if is_amazon(endpoint):
        return {}
    return {name: WHEN_REQUIRED for name in SETTINGS if _set_by_user(core, name) is None}


def wants_no_crc64(core: Any) -> bool:
    """Return whether the user forbids checksums that S3 does not require."""
    return str(_set_by_user(core, SETTINGS[0])).lower() == WHEN_REQUIRED


def use_md5_where_required(client: Any) -> None:
    """Make a client that adds only required checksums send an MD5 in their place."""
    if client.meta.config.request_checksum_calculation == WHEN_REQUIRED:
        client.meta.events.register("before-sign.s3.DeleteObjects", _md5_in_place_of_crc)


def _set_by_user(core: Any, name: str) -> str | None:
    return os.environ.get(f"AWS_{name.upper()}") or core.get_scoped_config().get(name)


def _md5_in_place_of_crc(request: Any, **_: Any) -> None:
    for name in list(request.headers):
        if name.lower().startswith(("x-amz-checksum-", "x-amz-sdk-checksum-")):
            del request.headers[name]
    request.headers["Content-MD5"] = md5(request.data)
