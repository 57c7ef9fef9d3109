"""Finds the same bytes elsewhere in the bucket, by the manifests of the models that are staged there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice

from genai_pipeline.core.errors import StagingError
from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest
from genai_pipeline.core.model_snapshot import SnapshotFile
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.gateways.threads import each
from genai_pipeline.staging.commit import read_manifest

MANIFESTS_AT_ONCE = 16


def published_digest(file: SnapshotFile) -> str | None:
    """Return the digest that identifies the content: the sha256, or git's blob id if the hub publishes only that."""
    return file.sha256 or file.blob_id


def find_copies(store: ObjectStore, model: str, but_not_below: str, wanted: set[str]) -> dict[str, str]:
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
