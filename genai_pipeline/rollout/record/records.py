"""Read and change the records of releases and the pointer to the live release, in the object store.

Several steps of a run write to one record at once. So every change is a compare-and-swap on the object's ETag: read,
change, write if the object is still the one that was read, else start again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from genai_pipeline.core.clock import later, utc_now
from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict, Unreadable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY, Live, Record, live_key, read, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.store.abc import ObjectStore

_TRIES = 20
_Before = TypeVar("_Before")
_After = TypeVar("_After", Record, Live)


class Records:
    """Read and change records and live pointers. Every change is idempotent; every read may raise Unreadable."""

    def __init__(self, store: ObjectStore, now: Callable[[], str] = utc_now) -> None:
        self._store = store
        self._now = now

    def get(self, model: str, release: str) -> Record | None:
        try:
            return read(Record, record_key(model, release), self._store.get(record_key(model, release))[0])
        except NotFound:
            return None

    def require(self, model: str, release: str) -> Record:
        """Return the record. Raises: NotFound: the release has no record."""
        record = self.get(model, release)
        if record is None:
            raise NotFound(
                f"{model}@{release} has no record.",
                "The version sensor makes it. `genai status` shows the known releases.",
            )
        return record

    def all(self, model: str) -> list[Record]:
        """Return every record of a model, oldest first by its first event. Raises: Unreadable: one cannot be read."""
        records, damaged = self.readable(model)
        for error in damaged:
            raise error
        return records

    def readable(self, model: str) -> tuple[list[Record], list[Unreadable]]:
        """Return the records that can be read, ordered as in `all`, and the errors of the others."""
        records: list[Record] = []
        damaged: list[Unreadable] = []
        for key in [o.key for o in self._store.list(f"releases/{model}/") if o.key != live_key(model)]:
            try:
                records.append(read(Record, key, self._store.get(key)[0]))
            except Unreadable as error:
                damaged.append(error)
        return sorted(records, key=lambda r: r.history[0].at if r.history else ""), damaged

    def models(self) -> list[str]:
        """Return the names of all models that have a record; their model files may be gone."""
        return sorted({o.key.split("/")[1] for o in self._store.list("releases/")})

    def open(self, spec: ModelSpec, release: Release, why: str, trigger: str = "") -> Record:
        """Make the record of a release. An existing record is returned as it is."""
        as_it_is = spec.model_dump(mode="json", by_alias=True)
        record = Record(spec.name, release.id, release.revision, as_it_is, trigger=trigger)
        record = record.with_event(self._now(), why)
        try:
            self._store.put_new(record_key(spec.name, release.id), record.to_bytes())
        except AlreadyExists:
            return self.require(spec.name, release.id)
        return record

    def update(self, model: str, release: str, change: Callable[[Record], Record], event: str = "") -> Record:
        """Change a record.

        Args:
            change: may run again, on what another process wrote meanwhile.
            event: is added to the record's history; empty: nothing is added.
        Returns: The record as it is stored now.
        Raises: NotFound: there is no record. StoreConflict: it kept changing during the tries.
        """
        key = record_key(model, release)

        def stored() -> tuple[Record, str]:
            body, etag = self._store.get(key)
            return read(Record, key, body), etag

        def changed(before: Record) -> Record:
            after = change(before)
            return after.with_event(self._now(), event) if event else after

        return self._swap(key, stored, changed)

    def live(self, model: str) -> Live | None:
        return self._pointer(live_key(model))[0]

    def move_pointer(self, model: str, change: Callable[[Live | None], Live]) -> Live:
        """Change the pointer.

        Args:
            change: may run again, on what another process wrote meanwhile, and may raise.
        Returns: The pointer as it is stored now.
        Raises: StoreConflict: it kept changing during the tries.
        """
        return self._swap(live_key(model), lambda: self._pointer(live_key(model)), change)

    def set_live(self, release: Release, watched_for_s: float = 0, over: str | None = None) -> Live:
        """Point at `release`. The release that was live becomes the last good one, unless it ended badly.

        Args:
            watched_for_s: seconds that `release` is watched from now on; with 0 the watch is due to end at once.
            over: the release that must still be live; None: any.
        Raises: StoreConflict: another release than `over` is live.
        """

        def change(before: Live | None) -> Live:
            if before and before.release == release.id:
                return before
            if over and (before is None or before.release != over):
                raise StoreConflict(
                    f"{release.model}: {before.release if before else 'nothing'} is live, and {over} is not any more.",
                    "The traffic was moved meanwhile. The next attempt starts from there.",
                )
            last_good = before.release if before else None
            bad = last_good if last_good and self._ended_badly(release.model, last_good) else None
            now = self._now()
            left = bad or (before.rolled_back if before else None)
            until = later(now, watched_for_s)
            return Live(release.id, release.revision, now, None if bad else last_good, until, left)

        return self.move_pointer(release.model, change)

    def go_back(self, to: Release, bad: str) -> Live:
        """Point at `to` instead of the release `bad`, which is still to be removed. No watch is set.

        Raises: StoreConflict: neither of the two is live.
        """

        def change(before: Live | None) -> Live:
            if before and before.release == to.id:
                return before
            if before is None or before.release != bad:
                raise StoreConflict(
                    f"{to.model}: {before.release if before else 'nothing'} is live, and {bad} is not any more.",
                    "The traffic was moved meanwhile. See `genai status`, and roll back from there.",
                )
            return Live(to.id, to.revision, self._now(), rolled_back=bad)

        return self.move_pointer(to.model, change)

    def taken_away(self, model: str, bad: str) -> None:
        """Note that the release that was rolled back is removed."""
        self._amend(model, lambda live: replace(live, rolled_back=None) if live.rolled_back == bad else live)

    def end_watch(self, model: str, release: str) -> None:
        """Note that the watch over `release` has ended. Changes nothing if another release is live."""
        self._amend(model, lambda live: replace(live, watched_until=None) if live.release == release else live)

    def _amend(self, model: str, change: Callable[[Live], Live]) -> None:
        def changed(live: Live | None) -> Live:
            if live is None:
                raise NotFound(f"{model} has no live release.")
            return change(live)

        self.move_pointer(model, changed)

    def _swap(
        self, key: str, stored: Callable[[], tuple[_Before, str | None]], change: Callable[[_Before], _After]
    ) -> _After:
        """Compare and swap.

        Args:
            stored: returns what is there now with its ETag; None: there is no object yet.
        Raises: StoreConflict: it kept changing during the tries.
        """
        for _ in range(_TRIES):
            before, etag = stored()
            after = change(before)
            if after == before:
                return after
            try:
                if etag is None:
                    self._store.put_new(key, after.to_bytes())
                else:
                    self._store.put_if_match(key, after.to_bytes(), etag)
            except StoreConflict:
                continue
            return after
        raise StoreConflict(
            f"{key} changed during each of {_TRIES} tries.", "Look for another process that writes it in a loop."
        )

    def _pointer(self, key: str) -> tuple[Live | None, str | None]:
        try:
            body, etag = self._store.get(key)
        except NotFound:
            return None, None
        return read(Live, key, body), etag

    def _ended_badly(self, model: str, release: str) -> bool:
        record = self.get(model, release)
        return record is not None and record.phase in ENDED_BADLY
