"""Writes the manifest of a staged model: last, and only once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from genai_pipeline.core.errors import AlreadyExists, NotFound, StagingError, StoreUnavailable
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import Manifest, ManifestFile, manifest_key
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.gateways.store.abc import ObjectStore

ATTEMPTS = 3


def committed(store: ObjectStore, model: str, revision: str) -> Manifest | None:
    """Return the manifest of a staged model, or None if it is not staged. Raises: StagingError: it cannot be read."""
    return read_manifest(store, manifest_key(model, revision))


def read_manifest(store: ObjectStore, key: str) -> Manifest | None:
    """Return the manifest under `key`, or None. Raises: StagingError: the object is not a manifest."""
    try:
        return Manifest.from_bytes(store.get(key)[0])
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StagingError(
            f"{store.url(key)} is not a manifest ({type(error).__name__}: {error}).",
            "It was changed by hand. Delete the whole prefix and stage again.",
        ) from error


def commit(
    store: ObjectStore, model: str, snapshot: Snapshot, files: Sequence[ManifestFile], written_by: str, now: str
) -> Manifest:
    """Write the manifest, which makes the staged model exist.

    If another stager wrote one first, for the same bytes, that one is returned.

    Raises: StagingError: the other manifest names other bytes.
    """
    ours = Manifest(
        model, snapshot.source, snapshot.revision, tuple(sorted(files, key=lambda f: f.path)), written_by, now, _tool()
    )
    crash_point("staging.before_manifest")
    key = manifest_key(model, snapshot.revision)
    for _ in range(ATTEMPTS):
        try:
            store.put_new(key, ours.to_bytes())
        except AlreadyExists:
            theirs = committed(store, model, snapshot.revision)
            if theirs:
                return _same_bytes(store, theirs, ours)
            continue  # it is gone again, or never existed
        crash_point("staging.after_manifest")
        return ours
    raise StoreUnavailable(
        f"The store says that {store.url(key)} exists, but it cannot be read.", "Run this again in a minute."
    )


def _same_bytes(store: ObjectStore, theirs: Manifest, ours: Manifest) -> Manifest:
    if _bytes_of(theirs) != _bytes_of(ours):
        raise StagingError(
            f"{store.url(manifest_key(ours.model, ours.revision))} names other bytes than the source publishes.",
            "It was changed by hand. Delete the whole prefix and stage again.",
        )
    return theirs


def _tool() -> str:
    return f"genai-pipeline {version('genai-pipeline')}"


def _bytes_of(manifest: Manifest) -> set[tuple[str, str]]:
    return {(f.path, f.sha256) for f in manifest.files}
