"""Leases: who is at work on a revision, in the store itself, because nothing else is shared by all of them.

```
leases/<model>/<revision>/<stage|prune>-<host>-<pid>-<random>     empty; its age is the store's own
```

Stagers share a revision and so do pruners, but the two exclude each other. Each writes its lease first and looks for
the others' afterwards. S3 lists what was written before, so of a stager and a pruner at least one sees the other: the
pruner then gives way, the stager waits. Ages are differences between two times of the store, whatever a machine's clock
says.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from genai_pipeline.core.errors import GenaiError, StoreConflict
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject

LEASES = "leases/"
STAGE_LEASE_S = 24 * 3600
"""A stager older than this is dead; its uploads are swept after the same time."""
PRUNE_LEASE_S = 300
"""A pruner that has not renewed for so long is dead. No request of its last renewal can still be under way: boto3 ends
one, retries included, within 4 × 60 s of reading and the pauses between them."""
RENEW_AFTER_S = 30
DROP_WITHIN_S = 5
WAIT_FOR_PRUNER_S = 900

Kind = Literal["stage", "prune"]


@dataclass(frozen=True)
class LeaseHolder:
    """Somebody at work; `age_s` by the store's clock."""

    key: str
    kind: Kind
    who: str
    age_s: float

    @property
    def alive(self) -> bool:
        return self.age_s < (STAGE_LEASE_S if self.kind == "stage" else PRUNE_LEASE_S)


class Lease:
    """Ours. Taking it is one request, seeing who else holds one is another."""

    def __init__(self, store: ObjectStore, model: str, revision: str, kind: Kind) -> None:
        host = re.sub(r"[^\w.]", "_", socket.gethostname())
        self._store = store
        self._prefix = f"{LEASES}{model}/{revision}/"
        self.key = f"{self._prefix}{kind}-{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.take()

    def take(self) -> None:
        self._store.put(self.key, b"")
        self._taken = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it was taken so long ago that it is time to take it again."""
        return time.monotonic() - self._taken > RENEW_AFTER_S

    def others(self, kind: Kind) -> list[LeaseHolder]:
        """Living holders of leases of this kind, but not of this one."""
        listed = list(self._store.list(self._prefix))
        now = next((found.modified_at for found in listed if found.key == self.key), 0.0)
        return [h for h in holders(listed, now) if h.kind == kind and h.alive and h.key != self.key]

    def taken_at(self) -> float:
        """Unix time at which it was taken last, by the store's clock."""
        found = self._store.head(self.key)
        return found.modified_at if found else 0.0

    def drop(self) -> None:
        self._store.delete(self.key)


def holders(listed: list[StoredObject], now: float) -> list[LeaseHolder]:
    """The leases of a listing. `now`: Unix time by the store's clock."""
    found: list[LeaseHolder] = []
    for lease in listed:
        kind, _, who = lease.key.rpartition("/")[2].partition("-")
        if kind in ("stage", "prune"):
            found.append(LeaseHolder(lease.key, kind, who, now - lease.modified_at))
    return found


@contextmanager
def staging_lease(store: ObjectStore, model: str, revision: str, say: Log) -> Iterator[None]:
    """Keep pruners away from a revision while it is staged; waits for one that is at it.

    Raises: StoreConflict: it was still at it after a quarter of an hour.
    """
    lease = Lease(store, model, revision, "stage")
    try:
        _wait_for_pruners(lease, f"{model}/{revision}", say)
        yield
    finally:
        _drop_soon(lease)


def _drop_soon(lease: Lease) -> None:
    """Whoever is told to end does not wait for a store that says nothing: the lease is then swept after a day."""

    def drop() -> None:
        with suppress(GenaiError):
            lease.drop()

    dropping = threading.Thread(target=drop, daemon=True)
    dropping.start()
    dropping.join(DROP_WITHIN_S)


def _wait_for_pruners(lease: Lease, what: str, say: Log) -> None:
    end, said = time.monotonic() + WAIT_FOR_PRUNER_S, False
    while pruners := lease.others("prune"):
        if not said:
            dead_after = f"one that died is not waited for after {PRUNE_LEASE_S // 60} min"
            say(f"waiting for the prune of {what} by {pruners[0].who}; {dead_after}")
            said = True
        if time.monotonic() > end:
            raise StoreConflict(f"{what} is being pruned by {pruners[0].who}.", "Stage it again once that has ended.")
        time.sleep(1.0)
        lease.take()  # its time is what the others' ages are told by
