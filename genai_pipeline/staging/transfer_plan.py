"""Decides for each file how its bytes get to the staged model: kept, copied or streamed.

The same bytes may be elsewhere in the bucket. The manifests of the models that are staged there name them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from genai_pipeline.core.errors import StagingError
from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.gateways.threads import each
from genai_pipeline.staging.commit import read_manifest
from genai_pipeline.staging.meter import TransferMethod
from genai_pipeline.staging.preflight import refuse_what_cannot_be_loaded, refuse_what_must_not_be_staged

MANIFESTS_AT_ONCE = 16


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

    Raises: UnsafePath, UnsafeFormat, Refused, IncompleteModel: before any byte moves.
    """
    refuse_what_must_not_be_staged(snapshot)
    refuse_what_cannot_be_loaded(snapshot)
    prefix = staged_prefix(model, snapshot.revision)
    there = {found.key: found for found in store.list(prefix)} if store else {}
    files = sorted(snapshot.files, key=lambda f: f.size, reverse=True)
    kept = {f.path for f in files if (found := there.get(prefix + f.path)) and found.size == f.size}
    wanted = {name for f in files if f.path not in kept and (name := _published_digest(f))}
    elsewhere = _find_copies(store, model, prefix, wanted) if store and wanted else {}
    return [_plan_file(f, prefix + f.path, f.path in kept, elsewhere) for f in files]


def _plan_file(file: SnapshotFile, key: str, kept: bool, elsewhere: Mapping[str, str]) -> PlannedFile:
    if kept:
        return PlannedFile(file, key, TransferMethod.KEPT)
    if staged := elsewhere.get(_published_digest(file) or ""):
        return PlannedFile(file, key, TransferMethod.COPIED, staged)
    if file.copy_of:
        return PlannedFile(file, key, TransferMethod.COPIED, file.copy_of, file.copy_etag)
    return PlannedFile(file, key, TransferMethod.STREAMED)


def _published_digest(file: SnapshotFile) -> str | None:
    """Return the digest that identifies the content: the sha256, or git's blob id if the hub publishes only that."""
    return file.sha256 or file.blob_id


def _find_copies(store: ObjectStore, model: str, but_not_below: str, wanted: set[str]) -> dict[str, str]:
    """Return digest -> key of a file with that content in another staged model.

    The newest manifests of the same model are read first, because they have most of what a new revision needs. Reading
    stops when everything is found. Only manifests are read here; the bytes are checked after they are copied.
    """
    keys = [(found.modified_at, found.key) for found in store.list("models/") if _is_manifest(found.key, but_not_below)]
    own = f"models/{model}/"
    ordered = iter([key for _, key in sorted(keys, key=lambda k: (k[1].startswith(own), k[0]), reverse=True)])
    copies: dict[str, str] = {}
    while (some := list(islice(ordered, MANIFESTS_AT_ONCE))) and len(copies) < len(wanted):
        for digest, key in _named(each(lambda key: (key, _read(store, key)), some, MANIFESTS_AT_ONCE, "plan")):
            if digest in wanted:
                copies.setdefault(digest, key)
    return copies


def _named(manifests: Iterable[tuple[str, Manifest | None]]) -> Iterator[tuple[str, str]]:
    """Yield (digest, key) of every file."""
    for key, manifest in manifests:
        for file in manifest.files if manifest else ():
            at = key.removesuffix(MANIFEST_NAME) + file.path
            yield file.sha256, at
            if file.blob_id:
                yield file.blob_id, at


def _is_manifest(key: str, but_not_below: str) -> bool:
    return key.endswith(f"/{MANIFEST_NAME}") and not key.startswith(but_not_below)


def _read(store: ObjectStore, key: str) -> Manifest | None:
    with suppress(StagingError):  # another model's broken manifest must not stop this one
        return read_manifest(store, key)
    return None
