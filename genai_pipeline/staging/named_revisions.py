"""Staged revisions of other models that the arguments of a release name, such as a draft for speculative decoding.

A model file of its own brings such a revision into the bucket. Here it is required before an engine starts, and kept
from the prune while a release that names it may serve.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from genai_pipeline.core.errors import NotFound, Refused, StagingError, Unreadable
from genai_pipeline.core.manifest import Manifest, staged_prefix
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.named_repositories import StagedAddress, staged_addresses
from genai_pipeline.core.progress import Log
from genai_pipeline.core.record import ENDED, Live, Record, read
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.staging.commit import committed
from genai_pipeline.staging.lease import staging_lease
from genai_pipeline.staging.prune_decision import Reference


def require_named_revisions(store: ObjectStore, args: Mapping[str, Any], say: Log) -> list[Manifest]:
    """Return the manifests of the revisions that the arguments name.

    A lease keeps each from a prune while it is looked at. Afterwards the record of the release does.

    Raises: Refused: it is in another bucket. StagingError: it is not staged, or its objects were changed.
    """
    found: list[Manifest] = []
    for address in staged_addresses(args):
        _require_own_bucket(store, address)
        with staging_lease(store, address.model, address.revision, say):
            found.append(_require_whole(store, address))
    return found


def named_revisions(store: ObjectStore, args: Mapping[str, Any]) -> list[Manifest]:
    """Return the manifests of the revisions that the arguments name, for a look without a lease.

    Raises: Refused, StagingError: as `require_named_revisions`.
    """
    found: list[Manifest] = []
    for address in staged_addresses(args):
        _require_own_bucket(store, address)
        found.append(_require_whole(store, address))
    return found


class NamedRevisions:
    """What the releases of all models name. Keep it from look to look: it remembers records by their ETags."""

    def __init__(self, store: ObjectStore, specs: Sequence[ModelSpec]) -> None:
        self._store, self._specs = store, specs
        self._read: dict[tuple[str, str], Record | Live | None] = {}

    def references(self) -> Iterator[Reference]:
        """Yield what model files and records name. A record that cannot be read is the concern of its own model."""
        for spec in self._specs:
            for named in staged_addresses(spec.serving.args):
                yield Reference(named.model, named.revision, f"the model file of {spec.name} names it")
        listed = list(self._store.list("releases/"))
        last_good = {live.last_good for one in listed if isinstance(live := self._of(one), Live)}
        for one in listed:
            record = self._of(one)
            if isinstance(record, Record):
                yield from _named_by(record, one, record.release in last_good)

    def _of(self, listed: StoredObject) -> Record | Live | None:
        known = (listed.key, listed.etag)
        if known not in self._read:
            try:
                body = self._store.get(listed.key)[0]
                is_pointer = listed.key.endswith("/live.json")
                self._read[known] = read(Live, listed.key, body) if is_pointer else read(Record, listed.key, body)
            except (NotFound, Unreadable):
                self._read[known] = None
        return self._read[known]


def _named_by(record: Record, listed: StoredObject, is_last_good: bool) -> Iterator[Reference]:
    since = None if is_last_good else ended_at(record, listed)
    for named in staged_addresses(record.spec.get("serving", {}).get("args", {})):
        why = f"{record.model}@{record.release}, which {'is' if since is None else 'was'} {record.phase}, names it"
        yield Reference(named.model, named.revision, why, since)


def ended_at(record: Record, listed: StoredObject) -> float | None:
    """Return when a release ended, as a Unix time. Its last event may be later, which keeps the revision longer."""
    if record.phase not in ENDED:
        return None
    if not record.history:
        return listed.modified_at
    return datetime.fromisoformat(record.history[-1].at).timestamp()


def _require_own_bucket(store: ObjectStore, address: StagedAddress) -> None:
    if address.bucket != store.bucket:
        raise Refused(
            f"serving.args names s3://{address.bucket}/{staged_prefix(address.model, address.revision)}, "
            f"which is not in the bucket {store.bucket} of this installation.",
            f"Run `genai stage {address.model} --revision {address.revision}`, and write the address that it prints.",
        )


def _require_whole(store: ObjectStore, address: StagedAddress) -> Manifest:
    prefix = staged_prefix(address.model, address.revision)
    manifest = committed(store, address.model, address.revision)
    if manifest is None:
        raise StagingError(
            f"serving.args names {store.url(prefix)}, which is not staged.",
            f"Run `genai stage {address.model} --revision {address.revision}`, then roll out again.",
        )
    there = {one.key.removeprefix(prefix): (one.size, one.etag) for one in store.list(prefix)}
    changed = [file.path for file in manifest.files if there.get(file.path) != (file.size, file.etag)]
    if changed:
        raise StagingError(
            f"{store.url(prefix)}, which serving.args names, was changed: {', '.join(changed)}.",
            f"Run `genai verify {address.model}@{address.revision[:12]}`, which says what to do.",
        )
    return manifest
