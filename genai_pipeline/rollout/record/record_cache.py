"""Read all records and pointers at every tick, and only those that changed since the last one.

One listing shows by its ETags what changed. What is remembered is only a cache: it may be thrown away at any time. A
step that writes a record compares it with the store once more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from genai_pipeline.core.errors import NotFound, Unavailable, Unreadable
from genai_pipeline.core.record import Live, Record, live_key, record_key
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.gateways.threads import each
from genai_pipeline.rollout.record.records import read

PREFIX = "releases/"
READ_AT_ONCE = 8
BUDGET_S = 2.5

Body = Record | Live | str
"""A record, a pointer, or the reason why it cannot be read."""


@dataclass(frozen=True)
class ModelRecords:
    """What the store holds about one model.

    Args:
        records: release -> record; of a release that ended, what the cache keeps.
        damaged: release -> why its record cannot be read.
    """

    live: Live | None = None
    records: Mapping[str, Record] = field(default_factory=dict[str, Record])
    damaged: Mapping[str, str] = field(default_factory=dict[str, str])


class RecordCache:
    """Read what the store holds about models. Thread-safe: each kind of source has its own sensor.

    Args:
        budget_s: seconds for reading what changed. The next call reads the rest.
        whole: keep all of each record; else only what a plan needs of those that ended.
    """

    def __init__(self, store: ObjectStore, budget_s: float = BUDGET_S, whole: bool = False) -> None:
        self._store = store
        self._budget_s = budget_s
        self._whole = whole
        self._known: dict[str, tuple[str, Body]] = {}
        self._lock = threading.Lock()

    def read(self, models: Collection[str]) -> Mapping[str, ModelRecords | Unavailable]:
        """Return what the store holds about each model, or why that is not known yet.

        Raises: StoreUnavailable: the records could not be listed.
        """
        with self._lock:
            listed = self._list(models)
            self._known = {key: known for key, known in self._known.items() if key in listed or not _is_of(key, models)}
            self._read_changed([o for o in listed.values() if self._known.get(o.key, ("",))[0] != o.etag])
            return {model: self._found(model, listed) for model in models}

    def _list(self, models: Collection[str]) -> dict[str, StoredObject]:
        prefix = f"{PREFIX}{next(iter(models))}/" if len(models) == 1 else PREFIX
        return {o.key: o for o in self._store.list(prefix) if _is_of(o.key, models)}

    def _read_changed(self, changed: list[StoredObject]) -> None:
        """Read pointers first, then the newest records: after a restart those matter most."""
        changed.sort(key=lambda o: (not o.key.endswith("/live.json"), -o.modified_at))
        end = time.monotonic() + self._budget_s
        if len(changed) > READ_AT_ONCE:
            each(lambda o: self._read_one(o.key, end), changed, READ_AT_ONCE, "records")
        else:
            for o in changed:
                self._read_one(o.key, end)

    def _read_one(self, key: str, end: float) -> None:
        if time.monotonic() > end:
            return
        try:
            body, etag = self._store.get(key)
        except NotFound:  # deleted since it was listed
            return
        self._known[key] = (etag, _understood(key, body, self._whole))

    def _found(self, model: str, listed: Mapping[str, StoredObject]) -> ModelRecords | Unavailable:
        """Put together what is known. What was written between listing and reading is newer, and counts."""
        mine = [key for key in listed if _is_of(key, (model,))]
        unread = [key for key in mine if key not in self._known]
        if unread:
            known = f"{len(mine) - len(unread)} of {len(mine)} records of {model} are read."
            return Unavailable(known, "The next tick reads on.")
        bodies = {key: self._known[key][1] for key in mine}
        live = bodies.pop(live_key(model), None)
        if isinstance(live, str):
            return Unavailable(live, "Repair it or delete it. `genai status` shows which release has the traffic.")
        found = {key.rpartition("/")[2].removesuffix(".json"): body for key, body in bodies.items()}
        return ModelRecords(
            live if isinstance(live, Live) else None,
            {release: body for release, body in found.items() if isinstance(body, Record)},
            {release: body for release, body in found.items() if isinstance(body, str)},
        )


def _is_of(key: str, models: Collection[str]) -> bool:
    parts = key.split("/")
    return len(parts) == 3 and parts[1] in models


def _understood(key: str, body: bytes, whole: bool) -> Body:
    try:
        if key.endswith("/live.json"):
            return read(Live, key, body)
        record = read(Record, key, body)
        if key != record_key(record.model, record.release):
            return f"{key} is the record of {record.model}@{record.release}"
        return record if whole else record.glance
    except Unreadable as error:
        return error.what
