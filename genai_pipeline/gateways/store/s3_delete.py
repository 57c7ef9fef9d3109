"""Deletes of many objects. A server without DeleteObjects, as Google's, gets a DeleteObject for each."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.core.errors import StoreUnavailable
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.gateways.store.s3_client import S3Client
from genai_pipeline.gateways.threads import each

DELETED_AT_ONCE = 1000
"""Keys of one request. Source: Amazon S3 API reference, "DeleteObjects"."""
DELETE_THREADS = 16


def delete_first(store: ObjectStore, s3: S3Client, keys: Sequence[str]) -> int:
    """Delete the first keys by one request, or by one for each thread. Return their number, 0 after a refusal."""
    if not keys:
        return 0
    if not s3.abilities.many_deletes:
        some = keys[:DELETE_THREADS]
        each(store.delete, some, DELETE_THREADS, "delete")
        return len(some)
    some = keys[:DELETED_AT_ONCE]
    with s3.translating_errors(f"delete {len(some)} objects like {store.url(some[0])}", store.url(some[0])):
        done = _delete_objects(store.bucket, s3, some)
    if done is None:
        s3.abilities.many_deletes = False
        return 0
    for refused in done.get("Errors", ()):  # the request as a whole succeeds nevertheless
        raise StoreUnavailable(
            f"The object store did not delete {store.url(refused['Key'])} ({refused.get('Code', 'no reason')}).",
            "Run this again; if it repeats, s3:DeleteObject is denied or the object is locked.",
        )
    return len(some)


def _delete_objects(bucket: str, s3: S3Client, keys: Sequence[str]) -> dict[str, list[dict[str, str]]] | None:
    """Return S3's answer, or None where it refuses the operation."""
    from botocore.exceptions import ClientError

    from genai_pipeline.gateways.store.s3_errors import refuses_many_deletes

    try:
        return s3.boto3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True})
    except ClientError as error:
        if refuses_many_deletes(error):
            return None
        raise
