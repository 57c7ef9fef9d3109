"""Keeps what engines compiled: finds an archive by its key, and takes a new one from an engine into the store.

The archive comes from a pod, so it is not trusted: it must hold regular files below the folders of caches, and nothing
else. It goes to a temporary file, since its digest names the object, and only then to the store. The manifest is
written last and conditionally. Kill it anywhere and run it again; an archive without a manifest goes with the prune.
"""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from genai_pipeline.core.compile_cache import CACHES, CacheManifest, CachePlace
from genai_pipeline.core.errors import AlreadyExists, GenaiError, NotFound, StagingError, StoreConflict
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import MANIFEST_NAME
from genai_pipeline.gateways.store.abc import ObjectStore, UploadedPart
from genai_pipeline.k8s.restoring import is_allowed
from genai_pipeline.staging.sweep import STALE_AFTER_S
from genai_pipeline.staging.transfer import PART_SIZE

MOST_FILES = 200_000
ATTEMPTS = 3

Sink = Callable[[bytes], object]
Pull = Callable[[Sink], Mapping[str, str] | None]
"""Gives the sink all bytes of an archive. Returns the versions that made it, or None if nothing was compiled."""


@dataclass(frozen=True)
class FoundCache:
    """What the store has for a key: a manifest, or why there is none. `etag` is that of its object, if there is one."""

    manifest: CacheManifest | None
    why: str = ""
    etag: str = ""


def find(store: ObjectStore, place: CachePlace) -> FoundCache:
    """Return the archive that is kept for a key. Raises: StoreUnavailable."""
    try:
        body, etag = store.get(place.manifest_key)
    except NotFound:
        return FoundCache(None, "no engine with this image, arguments and hardware has run before")
    try:
        manifest = CacheManifest.from_bytes(body)
    except (ValueError, KeyError, TypeError) as error:
        return FoundCache(None, f"its manifest cannot be read ({type(error).__name__})", etag)
    if manifest.place != place:
        return FoundCache(None, "its manifest is that of another key", etag)
    if store.head(manifest.archive_key) is None:
        return FoundCache(None, "its archive is gone", etag)
    return FoundCache(manifest, etag=etag)


def keep(store: ObjectStore, draft: CacheManifest, pull: Pull, before: FoundCache) -> CacheManifest | None:
    """Take the archive from an engine and keep it.

    Args:
        draft: all that is known but the archive.
        before: what `find` said; a manifest that is there is replaced.
    Returns: The manifest that is stored now, which may be another writer's, or None if the engine compiled nothing.
    Raises: StagingError: the archive holds what no cache holds. StoreUnavailable, and what `pull` raises.
    """
    with tempfile.TemporaryFile() as file:
        digest, size = hashlib.sha256(), 0

        def take(chunk: bytes) -> None:
            nonlocal size
            digest.update(chunk)
            size += file.write(chunk)

        made_with = pull(take)
        if made_with is None:
            return None
        crash_point("cache.pulled")
        files = _count(file)
        manifest = draft.of_archive(digest.hexdigest(), size, files, made_with)
        _send(store, manifest.archive_key, file, size)
    crash_point("cache.archive_sent")
    return _commit(store, manifest, before)


def _count(file: IO[bytes]) -> int:
    """Return the number of files in an archive. Raises: StagingError: it holds something else."""
    file.seek(0)
    count = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for count, member in enumerate(archive, 1):
                _refuse_foreign(member)
                if count > MOST_FILES:
                    raise _foreign(f"more than {MOST_FILES} files")
    except (tarfile.TarError, ValueError, OSError, EOFError) as error:
        raise _foreign(f"bytes that are no tar archive ({error})") from error
    if not count:
        raise _foreign("no file")
    return count


def _refuse_foreign(member: tarfile.TarInfo) -> None:
    if not member.isreg() or member.issparse():
        raise _foreign(f"{member.name!r}, which is no regular file")
    if not is_allowed(member.name) or member.name.endswith(".lock"):
        raise _foreign(f"{member.name!r}, which is outside the folders of caches")


def _foreign(what: str) -> StagingError:
    return StagingError(
        f"The archive of an engine holds {what}.",
        "It is not kept. If the image is not vLLM's own, see what in it writes there.",
    )


def _send(store: ObjectStore, key: str, file: IO[bytes], size: int) -> None:
    """Send the file, in parts if it is large, so that memory holds one part."""
    file.seek(0)
    if size <= PART_SIZE:
        store.put_file(key, file.read())
        return
    upload, parts = store.begin_upload(key), list[UploadedPart]()
    crash_point("cache.upload_begun")
    try:
        while part := file.read(PART_SIZE):
            parts.append(store.upload_part(upload, len(parts) + 1, part))
        store.complete_upload(upload, parts)
    except BaseException:
        with suppress(GenaiError):  # what stays is deleted after a day
            store.abort_upload(upload)
        raise


def _commit(store: ObjectStore, ours: CacheManifest, before: FoundCache) -> CacheManifest:
    """Write the manifest. The loser of two writers takes the winner's and deletes its own archive."""
    for _ in range(ATTEMPTS):
        try:
            if before.etag:
                store.put_if_match(ours.place.manifest_key, ours.to_bytes(), before.etag)
            else:
                store.put_new(ours.place.manifest_key, ours.to_bytes())
        except (StoreConflict, NotFound) as error:
            theirs = find(store, ours.place)
            if theirs.manifest:
                _delete_archive(store, ours, theirs.manifest)
                return theirs.manifest
            if isinstance(error, AlreadyExists) and not theirs.etag:
                continue  # it is gone again
            before = theirs
            continue
        crash_point("cache.manifest_written")
        if before.manifest:
            _delete_archive(store, before.manifest, ours)
        return ours
    raise StoreConflict(
        f"{store.url(ours.place.manifest_key)} changed during each of {ATTEMPTS} tries.",
        "Look for another process that writes it in a loop.",
    )


def _delete_archive(store: ObjectStore, of: CacheManifest, kept: CacheManifest) -> None:
    if of.archive_key != kept.archive_key:
        store.delete(of.archive_key)


def orphans(store: ObjectStore, now: float) -> list[str]:
    """Return the keys of archives older than a day that no manifest names: their writer was killed.

    Args:
        now: Unix time, by the store's clock.
    """
    listed = {found.key: found for found in store.list("models/") if found.key.split("/")[2:3] == [CACHES]}
    manifests = {key.rpartition("/")[0]: key for key in listed if key.endswith(f"/{MANIFEST_NAME}")}
    left: list[str] = []
    for folder in sorted({key.rpartition("/")[0] for key in listed}):
        old = [
            key
            for key, found in listed.items()
            if _is_archive_in(folder, key) and found.modified_at < now - STALE_AFTER_S
        ]
        if old:
            named = _named(store, manifests.get(folder))
            left += [key for key in old if key != named and named is not None]
    return left


def _is_archive_in(folder: str, key: str) -> bool:
    return key.rpartition("/")[0] == folder and key.endswith(".tar")


def _named(store: ObjectStore, manifest_key: str | None) -> str | None:
    """Return the archive that a manifest names, an empty text without one, or None if it cannot be read."""
    if manifest_key is None:
        return ""
    try:
        return CacheManifest.from_bytes(store.get(manifest_key)[0]).archive_key
    except NotFound:
        return ""
    except (ValueError, KeyError, TypeError):
        return None
