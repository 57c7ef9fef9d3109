"""Compares a staged model with its manifest, and the manifest with what the source publishes now."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from genai_pipeline.core.errors import NotFound, Refused, StoreConflict, Unavailable
from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest, ManifestFile, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.gateways.threads import each
from genai_pipeline.staging.meter import Meter, Observer, TransferMethod

FILES_AT_ONCE = 8
REPAIR = "Delete its manifest.json and stage it again. Correct files are kept, and only the others are sent."


class FileState(StrEnum):
    EQUAL = "equal"
    UNREAD = "not read"
    DIFFERS = "differs"


@dataclass(frozen=True)
class VerifiedFile:
    """A file and its state. `detail` says what is wrong. An unread file has the size and ETag of the manifest."""

    path: str
    size: int
    state: FileState
    detail: str = ""


@dataclass(frozen=True)
class Verification:
    """Args: source: the result of the comparison with the source, a sentence without its full stop."""

    files: Sequence[VerifiedFile]
    source: str

    @property
    def differing(self) -> list[VerifiedFile]:
        return [f for f in self.files if f.state is FileState.DIFFERS]

    @property
    def passed(self) -> bool:
        return not self.differing

    @property
    def bytes_read(self) -> int:
        return sum(f.size for f in self.files if f.state is FileState.EQUAL)


@dataclass(frozen=True)
class Published:
    """What the source publishes of the revision. Without an answer `snapshot` is None, and `note` says why."""

    snapshot: Snapshot | None
    note: str


def published_by(source: Hub, manifest: Manifest) -> Published:
    """Ask the source for the revision. A source that lost it, or does not answer, is noted in the result."""
    what = f"{manifest.source}@{manifest.revision[:12]}"
    try:
        return Published(source.snapshot(manifest.source, manifest.revision), f"{what} publishes the same")
    except Refused as error:
        return Published(None, f"{what} cannot be compared with: {error}")
    except Unavailable:
        return Published(None, f"{what} could not be compared with: the source did not answer")


def verify_staged(
    store: ObjectStore,
    manifest: Manifest,
    published: Published,
    share: float = 1.0,
    progress: Observer = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    rng: random.Random | None = None,
) -> Verification:
    """Compare the bytes of a staged model, or of a random share of it, with its manifest.

    For files outside the share, presence, size and ETag are compared. A file whose ETag differs is read.

    Args:
        share: share of the bytes, in (0, 1]. Whole files are chosen at random until they make it up, at least one.
        progress: called with the state at most four times a second.
        say: called with log lines.
        rng: chooses the files.
    Raises: StoreUnavailable: nothing is known then.
    """
    prefix = staged_prefix(manifest.model, manifest.revision)
    there = {found.key.removeprefix(prefix): found for found in store.list(prefix)}
    listed = {f.path: f for f in _published_files(published.snapshot)}
    chosen = _chosen(manifest, share, rng or random.Random())
    meter = Meter(
        manifest.model, manifest.revision, [(f.path, f.size, TransferMethod.KEPT) for f in chosen], say, progress
    )
    reader = _Reader(store, prefix, there, listed, {f.path for f in chosen}, meter)
    files = each(reader.verify, manifest.files, FILES_AT_ONCE, "verify")
    meter.finish()
    return Verification([*files, *_extra(manifest, there), *_against(manifest, published.snapshot)], published.note)


def _published_files(snapshot: Snapshot | None) -> list[SnapshotFile]:
    return [*snapshot.files, *(left.file for left in snapshot.left_out)] if snapshot else []


def _chosen(manifest: Manifest, share: float, rng: random.Random) -> list[ManifestFile]:
    files = list(manifest.files)
    if share >= 1:
        return files
    rng.shuffle(files)
    wanted, chosen, size = share * manifest.size_bytes, list[ManifestFile](), 0
    while files and (not chosen or size < wanted):
        chosen.append(files.pop())
        size += chosen[-1].size
    return chosen


@dataclass(frozen=True)
class _Reader:
    store: ObjectStore
    prefix: str
    there: Mapping[str, StoredObject]
    listed: Mapping[str, SnapshotFile]
    chosen: set[str]
    meter: Meter

    def verify(self, file: ManifestFile) -> VerifiedFile:
        found = self.there.get(file.path)
        if found is None:
            return VerifiedFile(file.path, file.size, FileState.DIFFERS, "is missing")
        if found.size != file.size:
            detail = f"has {found.size} bytes, the manifest says {file.size}"
            return VerifiedFile(file.path, file.size, FileState.DIFFERS, detail)
        if file.path not in self.chosen and found.etag == file.etag:
            return VerifiedFile(file.path, file.size, FileState.UNREAD)
        try:
            wrong = self._read(file)
        except (NotFound, StoreConflict):
            wrong = "was deleted or overwritten while it was read"
        return VerifiedFile(file.path, file.size, FileState.DIFFERS if wrong else FileState.EQUAL, wrong)

    def _read(self, file: ManifestFile) -> str:
        """Return what is wrong with the bytes, or an empty text if they are right."""
        published, measured = self.listed.get(file.path), file.path in self.chosen
        sha256 = hashlib.sha256()
        blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        if measured:
            self.meter.begin(file.path, TransferMethod.KEPT)
        for chunk in self.store.read(self.prefix + file.path):
            sha256.update(chunk)
            if published and not published.sha256:  # the hub publishes a git blob id of it only
                blob.update(chunk)
            if measured:
                self.meter.advance(file.path, len(chunk))
        if measured:
            self.meter.end(file.path)
        if sha256.hexdigest() != file.sha256:
            return f"has sha256 {sha256.hexdigest()[:12]}, the manifest says {file.sha256[:12]}"
        if published and not published.sha256 and published.blob_id not in (None, blob.hexdigest()):
            return f"has git blob id {blob.hexdigest()[:12]}, the source publishes {(published.blob_id or '')[:12]}"
        return ""


def _extra(manifest: Manifest, there: Mapping[str, StoredObject]) -> list[VerifiedFile]:
    extra = sorted(set(there) - {f.path for f in manifest.files} - {MANIFEST_NAME})
    return [
        VerifiedFile(path, there[path].size, FileState.DIFFERS, "is not in the manifest: delete it") for path in extra
    ]


def _against(manifest: Manifest, published: Snapshot | None) -> list[VerifiedFile]:
    """Return the files in which the manifest and the source differ."""
    if published is None:
        return []
    ours, theirs = {f.path: f for f in manifest.files}, {f.path: f for f in published.files}
    # Revisions that were staged before may hold files that are left out now. They are the source's, too.
    theirs |= {left.file.path: left.file for left in published.left_out if left.file.path in ours}
    wrong: list[VerifiedFile] = []
    for path in sorted(set(ours) & set(theirs)):
        mine, other = ours[path], theirs[path]
        if (mine.size, mine.sha256) != (other.size, other.sha256 or mine.sha256):
            detail = f"is {mine.sha256[:12]} in the manifest, the source publishes {(other.sha256 or '?')[:12]}"
            wrong.append(VerifiedFile(path, mine.size, FileState.DIFFERS, detail))
    wrong += [
        VerifiedFile(path, ours[path].size, FileState.DIFFERS, "is in the manifest and not in the source")
        for path in sorted(set(ours) - set(theirs))
    ]
    return wrong + [
        VerifiedFile(path, theirs[path].size, FileState.DIFFERS, "is in the source and not in the manifest")
        for path in sorted(set(theirs) - set(ours))
    ]
