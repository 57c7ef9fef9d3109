"""The records of a model's releases, and the pointer to the live one, in the object store.

Several steps of a run write to one record at once, so every change is a compare-and-swap on the
object's ETag: read, change, write if nobody else did, else again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from genai_pipeline.core.clock import later, utc_now
from genai_pipeline.core.errors import AlreadyExists, NotFound, StoreConflict, Unreadable
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY, Live, Record, live_key, read, record_key
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.store.abc import ObjectStore

_TRIES = 20


class Records:
    """Records and live pointers; every change is idempotent. Whatever reads one may raise Unreadable."""

    def __init__(self, store: ObjectStore, now: Callable[[], str] = utc_now) -> None:
        self._store = store
        self._now = now

    def get(self, model: str, release: str) -> Record | None:
        try:
            return read(Record, record_key(model, release), self._store.get(record_key(model, release))[0])
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
        """Every record of a model, oldest first by its first event. Raises: Unreadable: one of them is."""
        records, damaged = self.readable(model)
        for error in damaged:
            raise error
        return records

    def readable(self, model: str) -> tuple[list[Record], list[Unreadable]]:
        """For what is only shown, or compared with: the records that can be read as `all` has them, and the others."""
        records: list[Record] = []
        damaged: list[Unreadable] = []
        for key in [o.key for o in self._store.list(f"releases/{model}/") if o.key != live_key(model)]:
            try:
                records.append(read(Record, key, self._store.get(key)[0]))
            except Unreadable as error:
                damaged.append(error)
        return sorted(records, key=lambda r: r.history[0].at if r.history else ""), damaged

    def models(self) -> list[str]:
        """Every model that has a record, by name; files of theirs may be gone."""
        return sorted({o.key.split("/")[1] for o in self._store.list("releases/")})

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
            before = read(Record, key, body)
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
        return self._pointer(live_key(model))[0]

    def move_pointer(self, model: str, change: Callable[[Live | None], Live]) -> Live:
        """Change the pointer; `change` may run again, on what somebody else wrote meanwhile, and may raise.

        Raises: StoreConflict: it changed under us every time.
        """
        key = live_key(model)
        for _ in range(_TRIES):
            before, etag = self._pointer(key)
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
        raise StoreConflict(f"{key} changed under us {_TRIES} times.", "Is somebody else writing it in a loop?")

    def set_live(self, release: Release, watched_for_s: float = 0, over: str | None = None) -> Live:
        """Point at `release`; what was live before becomes the last good one, unless it ended badly.

        Args:
            watched_for_s: how long it is watched from now on; with 0 the end of the watch is due at once.
            over: the release that must still be live, where one is named.
        Raises: StoreConflict: another one is live.
        """

        def change(before: Live | None) -> Live:
            if before and before.release == release.id:
                return before
            if over and (before is None or before.release != over):
                raise StoreConflict(
                    f"{release.model}: {before.release if before else 'nothing'} is live, and no longer {over}.",
                    "Somebody moved the traffic meanwhile; the next attempt starts from there.",
                )
            last_good = before.release if before else None
            bad = last_good if last_good and self._ended_badly(release.model, last_good) else None
            now = self._now()
            left = bad or (before.rolled_back if before else None)
            until = later(now, watched_for_s)
            return Live(release.id, release.revision, now, None if bad else last_good, until, left)

        return self.move_pointer(release.model, change)

    def go_back(self, to: Release, bad: str) -> Live:
        """Point at `to` instead of the release `bad`, which is still to be taken away; nothing is watched any more.

        Raises: StoreConflict: neither of the two is live.
        """

        def change(before: Live | None) -> Live:
            if before and before.release == to.id:
                return before
            if before is None or before.release != bad:
                raise StoreConflict(
                    f"{to.model}: {before.release if before else 'nothing'} is live, and no longer {bad}.",
                    "Somebody moved the traffic meanwhile: look at it, and go back from there.",
                )
            return Live(to.id, to.revision, self._now(), rolled_back=bad)

        return self.move_pointer(to.model, change)

    def taken_away(self, model: str, bad: str) -> None:
        """Nothing is left of the release that was rolled back."""
        self._amend(model, lambda live: replace(live, rolled_back=None) if live.rolled_back == bad else live)

    def end_watch(self, model: str, release: str) -> None:
        """The watch over `release` is over; of no consequence where another one is live."""
        self._amend(model, lambda live: replace(live, watched_until=None) if live.release == release else live)

    def _amend(self, model: str, change: Callable[[Live], Live]) -> None:
        def changed(live: Live | None) -> Live:
            if live is None:
                raise NotFound(f"{model} has no live release.")
            return change(live)

        self.move_pointer(model, changed)

    def _pointer(self, key: str) -> tuple[Live | None, str | None]:
        try:
            body, etag = self._store.get(key)
        except NotFound:
            return None, None
        return read(Live, key, body), etag

    def _ended_badly(self, model: str, release: str) -> bool:
        record = self.get(model, release)
        return record is not None and record.phase in ENDED_BADLY
