"""Throw away what a killed stager left: multipart uploads that nobody will finish."""

from __future__ import annotations

import time

from genai_pipeline.gateways.store.abc import ObjectStore

STALE_AFTER_S = 24 * 3600


def sweep(store: ObjectStore, now: float | None = None) -> int:
    """Abort uploads below models/ older than a day; returns how many."""
    limit = (time.time() if now is None else now) - STALE_AFTER_S
    stale = [upload for upload in store.list_uploads("models/") if upload.started_at < limit]
    for upload in stale:
        store.abort_upload(upload)
    return len(stale)
