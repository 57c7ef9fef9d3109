"""Decides for each file how its bytes get to the staged model: kept, copied or streamed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.staging.copies import find_copies, published_digest
from genai_pipeline.staging.meter import TransferMethod
from genai_pipeline.staging.preflight import refuse_what_must_not_be_staged


@dataclass(frozen=True)
class PlannedFile:
    """One file, and how it gets to `key`.

    `copy_of` is the key to copy from; `copy_etag` is the ETag that it must still have, or None for any.
    """

    file: SnapshotFile
    key: str
    how: TransferMethod
    copy_of: str | None = None
    copy_etag: str | None = None


def plan_staging(model: str, snapshot: Snapshot, store: ObjectStore | None) -> list[PlannedFile]:
    """Return the plan of a staging, the largest files first, so that the last file under way is small.

    A file of the right size that is already there is read back and checked, without a byte from the hub.

    Args:
        store: None means that the bucket does not exist yet.

    Raises: UnsafePath, UnsafeFormat, Refused: before any byte moves.
    """
    refuse_what_must_not_be_staged(snapshot)
    prefix = staged_prefix(model, snapshot.revision)
    there = {found.key: found for found in store.list(prefix)} if store else {}
    files = sorted(snapshot.files, key=lambda f: f.size, reverse=True)
    kept = {f.path for f in files if (found := there.get(prefix + f.path)) and found.size == f.size}
    wanted = {name for f in files if f.path not in kept and (name := published_digest(f))}
    elsewhere = find_copies(store, model, prefix, wanted) if store and wanted else {}
    return [_plan_file(f, prefix + f.path, f.path in kept, elsewhere) for f in files]


def _plan_file(file: SnapshotFile, key: str, kept: bool, elsewhere: Mapping[str, str]) -> PlannedFile:
    if kept:
        return PlannedFile(file, key, TransferMethod.KEPT)
    if staged := elsewhere.get(published_digest(file) or ""):
        return PlannedFile(file, key, TransferMethod.COPIED, staged)
    if file.copy_of:
        return PlannedFile(file, key, TransferMethod.COPIED, file.copy_of, file.copy_etag)
    return PlannedFile(file, key, TransferMethod.STREAMED)
