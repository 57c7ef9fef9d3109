"""Decide per file how its bytes come to the staged model: not at all, by copy, or from the hub."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath

from genai_pipeline.core.errors import Refused, StagingError, UnsafeFormat
from genai_pipeline.core.manifest import MANIFEST_NAME, staged_prefix
from genai_pipeline.core.snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.staging.commit import read_manifest
from genai_pipeline.staging.progress import How

_PIN_ANOTHER = "Pin another `source.ref` in the model file."


@dataclass(frozen=True)
class PlannedFile:
    """One file and how it gets to `key`; `copy_of` is the key to copy from."""

    file: SnapshotFile
    key: str
    how: How
    copy_of: str | None = None


def plan_staging(model: str, snapshot: Snapshot, store: ObjectStore) -> list[PlannedFile]:
    """Plan a staging; the largest files first, so that the last one under way is small.

    A file of the right size that is there already is checked by reading it back, which costs no
    byte from the hub. Raises: UnsafeFormat, Refused: before any byte moves.
    """
    refuse_what_must_not_be_staged(snapshot)
    prefix = staged_prefix(model, snapshot.revision)
    there = {found.key: found for found in store.list(prefix)}
    elsewhere = _digests_in_store(store, prefix)
    files = sorted(snapshot.files, key=lambda f: f.size, reverse=True)
    return [_plan_file(file, prefix + file.path, there, elsewhere) for file in files]


def refuse_what_must_not_be_staged(snapshot: Snapshot) -> None:
    """Raises: UnsafeFormat: pickles. Refused: a path that would leave the prefix, or nothing to stage."""
    if snapshot.pickles:
        raise UnsafeFormat(
            f"{snapshot.source}@{snapshot.revision[:12]} holds pickles, which run code on load: "
            f"{', '.join(snapshot.pickles)}.",
            "Publish the weights as safetensors.",
        )
    for file in snapshot.files:
        parts = PurePosixPath(file.path).parts
        if file.path.startswith("/") or ".." in parts or file.path == MANIFEST_NAME or "\\" in file.path:
            raise Refused(f"{snapshot.source} holds {file.path!r}, which cannot be staged.", _PIN_ANOTHER)
    if not snapshot.files:
        raise Refused(f"{snapshot.source}@{snapshot.revision[:12]} holds no file.", _PIN_ANOTHER)


def _plan_file(
    file: SnapshotFile, key: str, there: Mapping[str, StoredObject], elsewhere: Mapping[str, str]
) -> PlannedFile:
    found = there.get(key)
    if found and found.size == file.size:
        return PlannedFile(file, key, How.KEPT)
    source = elsewhere.get(file.sha256 or "")
    return PlannedFile(file, key, How.COPIED, source) if source else PlannedFile(file, key, How.STREAMED)


def _digests_in_store(store: ObjectStore, but_not_below: str) -> dict[str, str]:
    """sha256 -> key of every file of every other staged model."""
    known: dict[str, str] = {}
    for found in store.list("models/"):
        if not found.key.endswith(f"/{MANIFEST_NAME}") or found.key.startswith(but_not_below):
            continue
        prefix = found.key.removesuffix(MANIFEST_NAME)
        with suppress(StagingError):  # another model's broken manifest must not stop this one
            manifest = read_manifest(store, found.key)
            known |= {file.sha256: prefix + file.path for file in manifest.files} if manifest else {}
    return known
