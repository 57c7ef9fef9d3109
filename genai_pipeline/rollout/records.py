"""The records of a model's releases, and the pointer to the live one, in the object store.

Several steps of a run write to one record at once, so every change is a compare-and-swap on the
object's ETag: read, change, write if nobody else did, else again.
"""

from __future__ import annotations

from collections.abc import Callable

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Live, Record, live_key, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.store.abc import ObjectStore

_TRIES = 20


class Records:
    """Records and live pointers; every change is idempotent."""

    def __init__(self, store: ObjectStore, now: Callable[[], str] = utc_now) -> None:
        self._store = store
        self._now = now

    def get(self, model: str, release: str) -> Record | None:
        try:
            return Record.from_bytes(self._store.get(record_key(model, release))[0])
        except NotFound:
            return None

    def require(self, model: str, release: str) -> Record:
        """The record, or NotFound."""
        record = self.get(model, release)
        if record is None:
            raise NotFound(
                f"{model}@{release} has no record.",
                "The version sensor makes it; see `genai status` for known releases.",
            )
        return record

    def all(self, model: str) -> list[Record]:
        """Every record of a model, oldest first by its first event."""
        keys = [o.key for o in self._store.list(f"releases/{model}/") if o.key != live_key(model)]
        records = [Record.from_bytes(self._store.get(key)[0]) for key in keys]
        return sorted(records, key=lambda r: r.history[0].at if r.history else "")

    def open(self, spec: ModelSpec, release: Release, why: str, trigger: str = "") -> Record:
        """Make the record of a release; an existing one is returned as it is."""
        as_it_is = spec.model_dump(mode="json", by_alias=True)
        record = Record(spec.name, release.id, release.revision, as_it_is, trigger=trigger)
        record = record.with_event(self._now(), why)
        try:
            self._store.put_new(record_key(spec.name, release.id), record.to_bytes())
        except AlreadyExists:
            return self.require(spec.name, release.id)
        return record

    def update(self, model: str, release: str, change: Callable[[Record], Record], event: str = "") -> Record:
        """Change a record; `change` may run again, on what somebody else wrote meanwhile.

        Raises: NotFound; StoreConflict: it changed under us every time.
        """
        key = record_key(model, release)
        for _ in range(_TRIES):
            body, etag = self._store.get(key)
            before = Record.from_bytes(body)
            after = change(before)
            if event:
                after = after.with_event(self._now(), event)
            if after == before:
                return before
            try:
                self._store.put_if_match(key, after.to_bytes(), etag)
            except StoreConflict:
                continue
            return after
        raise StoreConflict(f"{key} changed under us {_TRIES} times.", "Is somebody else writing it in a loop?")

    def live(self, model: str) -> Live | None:
        try:
            return Live.from_bytes(self._store.get(live_key(model))[0])
        except NotFound:
            return None

    def set_live(self, release: Release) -> Live:
        """Point at `release`; what was live before becomes the last good one."""
        before = self.live(release.model)
        if before and before.release == release.id:
            return before
        live = Live(release.id, release.revision, self._now(), before.release if before else None)
        self._store.put(live_key(release.model), live.to_bytes())
        return live
