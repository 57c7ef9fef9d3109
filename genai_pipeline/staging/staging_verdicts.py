"""The verdicts of m/snapshot and m/staged_model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.errors import ChecksumMismatch, GenaiError, NotFound, Refused, UnsafeFormat
from genai_pipeline.core.licences import refused_licences
from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest, staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot, SnapshotFile
from genai_pipeline.core.source_spec import ANY_LICENCE
from genai_pipeline.core.task import Task
from genai_pipeline.core.verdict import Outcome, Verdict, failed, inconclusive, judge, passed
from genai_pipeline.core.weights_layout import is_root_index, layout_of
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.staging.digest import digest_over
from genai_pipeline.staging.loadable import judge_loadable
from genai_pipeline.staging.preflight import refuse_what_must_not_be_staged

_SHA = re.compile(r"^[0-9a-f]{40}$")


def judge_snapshot(
    snapshot: Snapshot,
    licences: Sequence[str],
    hub: Hub,
    args: Mapping[str, Any] | None = None,
    task: Task | None = None,
    has_agent: bool = False,
) -> list[Verdict]:
    """Return the verdicts of m/snapshot, one for each of its checks.

    Args:
        licences: those that the model file allows.
        args: the engine's arguments in the model file.
        task, has_agent: as in `judge_loadable`.
    """
    pinned = bool(_SHA.match(snapshot.revision))
    return [
        judge("revision_pinned", pinned, f"{snapshot.revision} is {'a' if pinned else 'not a'} full commit sha."),
        _safe_formats(snapshot),
        _licence(snapshot, licences),
        _reachable(snapshot, hub),
        judge_loadable(snapshot, hub, args or {}, task, has_agent),
    ]


def _safe_formats(snapshot: Snapshot) -> Verdict:
    """Judge the list of files. Headers are read when the files are staged."""
    try:
        refuse_what_must_not_be_staged(snapshot)
    except Refused as error:
        return failed("safe_formats", str(error))
    names, formats = snapshot.weights, " or ".join(snapshot.formats)
    summary = f"{len(names)} files of weights, all {formats}." if names else f"There is no {formats} file to serve."
    return judge("safe_formats", len(names) > 0, summary, weights=list(names))


def require_licence(snapshot: Snapshot, allowed: Sequence[str]) -> None:
    """Refuse a licence that is not allowed, for a staging that no m/snapshot judged before. Raises: Refused."""
    verdict = _licence(snapshot, allowed)
    if verdict.outcome is not Outcome.PASSED:
        raise Refused(f"{snapshot.source}@{snapshot.revision[:12]}: {verdict.summary}", "Nothing was staged.")


def _licence(snapshot: Snapshot, allowed: Sequence[str]) -> Verdict:
    stated = snapshot.licence
    refused = [] if ANY_LICENCE in allowed else refused_licences(stated, allowed) if stated else ["none"]
    said = f"The licence is {stated or 'not stated'}; allowed are {', '.join(allowed)}."
    remedy = _licence_remedy(stated, refused, allowed) if refused else ""
    return judge("licence_allowed", not refused, f"{said}{remedy}", licence=stated, refused=refused)


def _licence_remedy(stated: str | None, refused: Sequence[str], allowed: Sequence[str]) -> str:
    if stated is None:
        return f" If you may use it, set in the model file:\nsource:\n  licences: [{ANY_LICENCE}]"
    names = f" Not allowed: {', '.join(refused)}." if refused != [stated] else ""
    more = json.dumps([*allowed, *refused], ensure_ascii=False)
    return f"{names} If you may use it, set in the model file:\nsource:\n  licences: {more}"


def _reachable(snapshot: Snapshot, hub: Hub) -> Verdict:
    """Read one byte of the largest file. A gated repository lists its files to everyone, but does not send them."""
    largest = max(snapshot.files, key=lambda f: f.size, default=None)
    if largest is None or largest.size == 0:
        return failed("repository_reachable", f"{snapshot.source} does not contain any bytes.")
    try:
        byte = b"".join(hub.read(snapshot.source, snapshot.revision, largest.path, 0, 1))
    except Refused as error:
        return failed("repository_reachable", str(error), gated=snapshot.gated)
    except GenaiError as error:
        return inconclusive("repository_reachable", str(error), gated=snapshot.gated)
    summary = f"{largest.path} can be read{' (gated, access granted)' if snapshot.gated else ''}."
    return judge("repository_reachable", len(byte) == 1, summary, gated=snapshot.gated)


def judge_staged(store: ObjectStore, manifest: Manifest, snapshot: Snapshot) -> list[Verdict]:
    """Return digests_equal_hub, every_shard_present and nothing_extra: the store compared with hub and manifest."""
    prefix = staged_prefix(manifest.model, manifest.revision)
    there = {found.key.removeprefix(prefix): found for found in store.list(prefix)}
    return [
        _digests(store, manifest, snapshot, prefix, there),
        _shards(store, snapshot, prefix, set(there)),
        _extra(manifest, set(there)),
    ]


def _digests(
    store: ObjectStore, manifest: Manifest, snapshot: Snapshot, prefix: str, there: Mapping[str, StoredObject]
) -> Verdict:
    recorded = {f.path: f for f in manifest.files}
    rows: list[dict[str, object]] = []
    for file in snapshot.files:
        ours, stored = recorded.get(file.path), there.get(file.path)
        same = ours is not None and stored is not None and ours.size == stored.size == file.size
        if ours and stored and same:
            published = (ours.sha256, file.sha256) if file.sha256 else (ours.blob_id, file.blob_id)
            untouched = stored.etag == ours.etag and published[0] == published[1] is not None
            # Otherwise it is read once more: a manifest of format 1 has no git blob id. A second stager may have
            # written the same bytes with another ETag, by other parts or by encryption with KMS.
            same = untouched or _equals_hub(store, prefix, file)
        rows.append({"path": file.path, "bytes": file.size, "sha256": ours.sha256 if ours else "", "equal": same})
    wrong = [str(row["path"]) for row in rows if not row["equal"]]
    summary = (
        f"These files differ from what the source publishes: {', '.join(wrong)}. Delete the prefix and stage again."
        if wrong
        else f"All {len(rows)} files have the digest that the source publishes."
    )
    return judge("digests_equal_hub", not wrong, summary, files=rows)


def _equals_hub(store: ObjectStore, prefix: str, file: SnapshotFile) -> bool:
    try:
        digest_over(file, store.read(prefix + file.path))
    except (ChecksumMismatch, NotFound, UnsafeFormat):
        return False
    return True


def _shards(store: ObjectStore, snapshot: Snapshot, prefix: str, there: set[str]) -> Verdict:
    """Judge what is really there by the same rule as the snapshot. What is left out must not be there."""
    check = "every_shard_present"
    try:
        indexes = {path: store.get(prefix + path)[0] for path in there if is_root_index(path)}
    except NotFound as error:
        return failed(check, str(error))
    layout = layout_of(there, indexes, snapshot.source)
    if layout.problem:
        return failed(check, f"{layout.problem} {layout.remedy}")
    if strays := [path for path, _ in layout.left_out if path.endswith(".safetensors")]:
        return failed(
            check,
            f"The engine would also load {', '.join(strays)}, which were staged before such files were left out. "
            f"Delete {store.url(prefix)} and stage again.",
        )
    return passed(check, f"All is there that the engine loads: {layout.rule}.", loaded=list(layout.loaded))


def _extra(manifest: Manifest, there: set[str]) -> Verdict:
    extra = sorted(there - {f.path for f in manifest.files} - {MANIFEST_NAME})
    summary = (
        f"These files are not in the manifest: {', '.join(extra)}. Delete them."
        if extra
        else "The prefix contains only files of the manifest."
    )
    return judge("nothing_extra", not extra, summary)
