"""Refuses, before a byte moves, what must not be staged: bad paths, sizes, formats, indexes and headers of weights.

Only headers are read, by ranges. Each error names the file and what to do.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import partial

from genai_pipeline.core.errors import (
    ChecksumMismatch,
    HubUnavailable,
    IncompleteModel,
    Refused,
    UnsafeFormat,
    UnsafePath,
)
from genai_pipeline.core.formats import LARGEST_HEAD, format_of
from genai_pipeline.core.manifest import MANIFEST_NAME, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.core.repository_paths import path_problem, twins
from genai_pipeline.core.safetensors import LENGTH_BYTES, check_header, header_length
from genai_pipeline.core.safetensors_index import INDEX_SUFFIX, TAKE_WHOLE, shards_named_by
from genai_pipeline.core.weights_layout import where_safetensors_are
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.hub.weights_reading import LARGEST_INDEX
from genai_pipeline.gateways.threads import each

LARGEST_FILE = 5 * 1024**4
"""Bytes. Source: Amazon S3 User Guide, "Uploading and copying objects using multipart upload"."""

MOST_HEADERS = 512
"""The most headers that are read, those of the largest files. In a model of more files, the rest are tiny."""

LARGEST_REREAD = 64 * 1024**2
"""The largest file that is read whole, to tell a bad file from damage on the way."""

READERS = 8
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOB_ID = re.compile(r"[0-9a-f]{40}")
_LONGEST_PREFIX = staged_prefix("m" * 30, "0" * 40)
_NOTHING_STAGED = "Nothing was staged."


def preflight(hub: Hub, snapshot: Snapshot) -> None:
    """Check everything that can be checked before the transfer.

    Raises: UnsafePath, UnsafeFormat, IncompleteModel, Refused; and the errors of reading the hub.
    """
    refuse_what_must_not_be_staged(snapshot)
    refuse_what_cannot_be_loaded(snapshot)
    indexes = [file for file in snapshot.files if file.path.endswith(INDEX_SUFFIX)]
    weights = sorted((f for f in snapshot.files if format_of(f.path) == "safetensors"), key=lambda f: -f.size)
    checks = [partial(_check_index, hub, snapshot, file) for file in indexes]
    checks += [partial(_check_weights, hub, snapshot, file) for file in weights[:MOST_HEADERS]]
    each(lambda check: check(), checks, READERS, "stage-header")


def refuse_what_must_not_be_staged(snapshot: Snapshot) -> None:
    """Check the list of files. Raises: UnsafePath, UnsafeFormat, Refused."""
    name = f"{snapshot.source}@{snapshot.revision[:12]}"
    if not snapshot.files:
        raise Refused(
            f"{name} does not contain any file.", "Correct the `source` in the model file, its `include` and `exclude`."
        )
    _refuse_paths(name, snapshot)
    for file in snapshot.files:
        problem = _file_problem(file)
        if problem:
            raise Refused(
                f"{name}: {_shown(file.path)} {problem}.",
                f"{_NOTHING_STAGED} Publish it again, or leave it out by `source.exclude`.",
            )
    _refuse_formats(name, snapshot)


def refuse_what_cannot_be_loaded(snapshot: Snapshot) -> None:
    """Refuse weights that no engine could load whole. Raises: IncompleteModel: it names the files and the remedy."""
    if snapshot.layout and snapshot.layout.problem:
        name = f"{snapshot.source}@{snapshot.revision[:12]}"
        raise IncompleteModel(f"{name}: {snapshot.layout.problem}", snapshot.layout.remedy)


def _refuse_paths(name: str, snapshot: Snapshot) -> None:
    problem = next(_path_problems([file.path for file in snapshot.files]), None)
    if problem:
        raise UnsafePath(
            f"{name} contains {problem[0]}, which cannot be staged: {problem[1]}.",
            f"{_NOTHING_STAGED} Publish it under another path, or leave it out by `source.exclude`.",
        )


def _path_problems(paths: list[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        problem = path_problem(path, _LONGEST_PREFIX)
        if problem:
            yield _shown(path), f"it {problem}"
    if len(set(paths)) < len(paths):
        yield _shown(next(path for path in paths if paths.count(path) > 1)), "it is listed twice"
    pair = twins([MANIFEST_NAME, *paths])
    if pair and pair[0] == MANIFEST_NAME:
        yield _shown(pair[1]), "that path is reserved for the manifest"
    elif pair:
        yield " and ".join(map(_shown, pair)), "some file systems cannot tell them apart"


def _file_problem(file: SnapshotFile) -> str | None:
    if file.size < 0:
        return "has no size"
    if file.size > LARGEST_FILE:
        return f"has {file.size} bytes, and S3 takes {LARGEST_FILE}"
    if file.sha256 is not None and not _DIGEST.fullmatch(file.sha256):
        return f"has {_shown(file.sha256)} for a sha256"
    if file.sha256 is None and not _BLOB_ID.fullmatch(file.blob_id or ""):
        return "has no digest to compare its bytes with"
    return None


def _refuse_formats(name: str, snapshot: Snapshot) -> None:
    refused = [f.path for f in snapshot.files if format_of(f.path) not in (None, *snapshot.formats)]
    if refused:
        kinds = sorted({str(format_of(path)) for path in refused})
        ends = sorted({f"*.{path.rsplit('.', 1)[1]}" for path in refused})
        if not any(format_of(f.path) == "safetensors" for f in snapshot.files):
            remedy = where_safetensors_are(snapshot.source)
            raise UnsafeFormat(
                f"{name} contains weights, and none as safetensors: {_named(refused, kinds)}.",
                f"{_NOTHING_STAGED} {remedy}",
            )
        why = "Pickles run code on load: publish" if kinds == ["pickle"] else "Publish"
        raise UnsafeFormat(
            f"{name} contains weights in other formats than {' or '.join(snapshot.formats)}: {_named(refused, kinds)}.",
            f"{_NOTHING_STAGED} {why} them as safetensors, allow them by "
            f"`source.formats: [{', '.join([*snapshot.formats, *kinds])}]`, or leave them out:\n"
            f"source:\n  exclude: {json.dumps(ends)}",
        )


def _named(paths: list[str], kinds: list[str]) -> str:
    return f"{', '.join(paths)} ({', '.join(kinds)})"


def _check_index(hub: Hub, snapshot: Snapshot, file: SnapshotFile) -> None:
    name = f"{snapshot.source}@{snapshot.revision[:12]}"
    if file.size > LARGEST_INDEX:
        raise IncompleteModel(f"{name}: {file.path} is not a safetensors index: it has {file.size} bytes.", TAKE_WHOLE)
    named = shards_named_by(_read(hub, snapshot, file.path, 0, file.size), file.path)
    folder, there = file.path[: file.path.rfind("/") + 1], {f.path for f in snapshot.files}
    missing = sorted(folder + shard for shard in named if folder + shard not in there)
    if missing:
        names = ", ".join(map(_shown, missing))
        without = f"source:\n  exclude: {json.dumps([file.path])}"
        raise IncompleteModel(
            f"{name}: {file.path} names {names}, which the revision does not hold.",
            f"{TAKE_WHOLE} Or leave the index out, if no engine needs it:\n{without}",
        )


def _check_weights(hub: Hub, snapshot: Snapshot, file: SnapshotFile) -> None:
    try:
        _check_header(hub, snapshot, file)
    except UnsafeFormat:
        if file.size <= LARGEST_REREAD:
            _require_published(file, hub.read(snapshot.source, snapshot.revision, file.path))
        _check_header(hub, snapshot, file)  # once more from scratch: perhaps the bytes were damaged on the way


def _check_header(hub: Hub, snapshot: Snapshot, file: SnapshotFile) -> None:
    head = _read(hub, snapshot, file.path, 0, min(LARGEST_HEAD, file.size))
    end = LENGTH_BYTES + header_length(file.path, head, file.size)
    if end > len(head):
        head += _read(hub, snapshot, file.path, len(head), end)
    check_header(file.path, head[LENGTH_BYTES:end], file.size)


def _require_published(file: SnapshotFile, chunks: Iterator[bytes]) -> None:
    """Raise ChecksumMismatch if the received bytes are not those that the hub publishes."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    if file.sha256 and digest.hexdigest() != file.sha256:
        raise ChecksumMismatch(file.path, file.sha256, digest.hexdigest())


def _read(hub: Hub, snapshot: Snapshot, path: str, start: int, end: int) -> bytes:
    body = b"".join(hub.read(snapshot.source, snapshot.revision, path, start, end)) if start < end else b""
    if len(body) != end - start:
        raise HubUnavailable(
            f"{path}: the source sent {len(body)} of {end - start} bytes.", f"Run this again. {_NOTHING_STAGED}"
        )
    return body


def _shown(text: str) -> str:
    """Return a name in a form that a person can read, even if it has control characters."""
    return repr(text if len(text) <= 120 else f"{text[:120]}…")
