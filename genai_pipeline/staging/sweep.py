"""Deletes what a killed stager left: its unfinished multipart uploads and its lease."""

from __future__ import annotations

from genai_pipeline.gateways.store.abc import DELETED_AT_ONCE, ObjectStore
from genai_pipeline.staging.lease import LEASES

STALE_AFTER_S = 24 * 3600


def sweep(store: ObjectStore, now: float | None = None) -> int:
    """Abort uploads below models/ older than a day, delete leases of that age, and return the number of uploads.

    Args:
        now: Unix time; None means the store's clock, because a machine's clock may be a day ahead.
    """
    limit = (store.now() if now is None else now) - STALE_AFTER_S
    stale = [upload for upload in store.list_uploads("models/") if upload.started_at < limit]
    for upload in stale:
        store.abort_upload(upload)
    store.delete_many([lease.key for lease in store.list(LEASES) if lease.modified_at < limit][:DELETED_AT_ONCE])
    return len(stale)
