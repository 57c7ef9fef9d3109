"""Open the store that the setting AGENT_SESSIONS names: `memory`, `file:<folder>` or `s3://<bucket>/<prefix>`."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from genai_pipeline.agent.sessions.heads import FileHeads, S3Heads
from genai_pipeline.agent.sessions.ledger import Ledger
from genai_pipeline.agent.sessions.messages import FileRepository, Messages, S3Repository
from genai_pipeline.agent.sessions.place import FILE, MEMORY, parse_place

CONNECTIONS = 96
"""As many as there are threads that ask, for records and for messages."""


def open_ledger(place: str, ttl_s: float, lease_s: float) -> Ledger | None:
    """None where sessions live in this process only. Raises: OSError: a folder that cannot be written."""
    kind, where = parse_place(place)
    if kind == MEMORY:
        return None
    if kind == FILE:
        folder = Path(where)
        heads, repository = FileHeads(folder), FileRepository(folder)
    else:
        bucket, _, prefix = where.partition("/")
        client, prefix = s3_client(), prefix.strip("/")
        heads, repository = S3Heads(client, bucket, prefix), S3Repository(client, bucket, prefix)
    return Ledger(heads, Messages(repository), secrets.token_hex(8), ttl_s, lease_s)


def s3_client() -> Any:
    """One for all threads; address and credentials as boto3 finds them. Gives up within seconds."""
    import boto3
    from botocore.config import Config

    # A store of one's own seldom has a name for each bucket.
    own = any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    patience = Config(
        s3={"addressing_style": "path" if own else "auto"},
        connect_timeout=2,
        read_timeout=4,
        retries={"mode": "standard", "total_max_attempts": 2},
        max_pool_connections=CONNECTIONS,
    )
    return boto3.client("s3", config=patience)
