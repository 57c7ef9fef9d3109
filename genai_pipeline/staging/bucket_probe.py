"""Find out before anything moves whether a bucket keeps the conditions of writes, on which records and manifests rest.

Source: Amazon S3 User Guide, "How to prevent object overwrites with conditional writes". Other servers answer 501, or
ignore the headers in silence. Then two processes overwrite each other's records, and neither notices.
"""

from __future__ import annotations

import secrets

from genai_pipeline.core.errors import AlreadyExists, Refused, StoreConflict
from genai_pipeline.gateways.store.abc import ObjectStore

REMEDY = "Use a store that keeps `If-None-Match` and `If-Match` of PutObject, as Amazon S3 and SeaweedFS do."
NO_ETAG = "0" * 32


def require_conditional_writes(store: ObjectStore) -> None:
    """Write a small object under conditions that must not hold, and delete it.

    Raises: Refused: the store refuses the conditions, or ignores them. AccessDenied, StoreUnavailable.
    """
    key = f"doctor/{secrets.token_hex(8)}"
    store.put_new(key, b"")
    try:
        try:
            store.put_new(key, b"again")
        except AlreadyExists:
            pass
        else:
            raise Refused(f"{store.url('')} ignores `If-None-Match`: it overwrote an object that exists.", REMEDY)
        try:
            store.put_if_match(key, b"again", NO_ETAG)
        except StoreConflict:
            pass
        else:
            raise Refused(f"{store.url('')} ignores `If-Match`: it overwrote an object with another ETag.", REMEDY)
    finally:
        store.delete(key)
