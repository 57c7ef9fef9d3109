"""Deletes what a killed stager left: its unfinished multipart uploads and its lease."""

from __future__ import annotations

from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.staging.lease import LEASES

STALE_AFTER_S = 24 * 3600


def sweep(store: ObjectStore, now: float | None = None) -> int:
    """Abort uploads of staging older than a day, delete leases of that age, and return the number of uploads.

    Args:
        now: Unix time; None means the store's clock, because a machine's clock may be a day ahead.
    """
    limit = (store.now() if now is None else now) - STALE_AFTER_S
    ours = [upload for upload in store.list_uploads("") if upload.key.startswith(("models/", LEASES))]
    stale = [upload for upload in ours if upload.started_at < limit]
    for upload in stale:
        store.abort_upload(upload)
    if old := [lease.key for lease in store.list(LEASES) if lease.modified_at < limit]:
        store.delete_first(old)  # not all of them, because a stager waits for it
    return len(stale)
