"""Leases in the store say who works on a revision. The store is the only thing that all workers share.

```
leases/<model>/<revision>/<stage|prune>-<host>-<pid>-<random>     empty; its age is the store's own
```

Several stagers may share a revision, and so may several pruners, but stagers and pruners exclude each other. Each
writes its own lease before it looks for others. S3 lists what was written before, so at least one of a stager and a
pruner sees the other: the pruner then gives way, the stager waits. Ages are differences between two times of the
store's clock.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from genai_pipeline.core.errors import StoreConflict
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.gateways.threads import in_background

LEASES = "leases/"
STAGE_LEASE_S = 24 * 3600
"""A stager older than this is dead. Its uploads are aborted after the same time."""
PRUNE_LEASE_S = 300
"""A pruner that has not renewed for so long is dead. No request from before can still be under way, because boto3 ends
a request, retries included, within 4 × 60 s of reading and the pauses between them."""
RENEW_AFTER_S = 30
DROP_WITHIN_S = 5
WAIT_FOR_PRUNER_S = 900

Kind = Literal["stage", "prune"]


@dataclass(frozen=True)
class LeaseHolder:
    """A process that holds a lease; `age_s` is measured by the store's clock."""

    key: str
    kind: Kind
    who: str
    age_s: float

    @property
    def alive(self) -> bool:
        return self.age_s < (STAGE_LEASE_S if self.kind == "stage" else PRUNE_LEASE_S)


class Lease:
    """The lease of this process. Taking it is one request; listing the other holders is another."""

    def __init__(self, store: ObjectStore, model: str, revision: str, kind: Kind) -> None:
        host = re.sub(r"[^\w.]", "_", socket.gethostname())
        self._store = store
        self._prefix = f"{LEASES}{model}/{revision}/"
        self.key = f"{self._prefix}{kind}-{host}-{os.getpid()}-{secrets.token_hex(4)}"
        # Conditional, so that a store without conditions refuses this and not the manifest, after all bytes moved.
        self._store.put_new(self.key, b"")
        self._taken = time.monotonic()

    def take(self) -> None:
        """Take the lease once more: it counts as alive from now on."""
        self._store.put(self.key, b"")
        self._taken = time.monotonic()

    @property
    def due(self) -> bool:
        """True once it is time to take the lease again."""
        return time.monotonic() - self._taken > RENEW_AFTER_S

    def others(self, kind: Kind) -> list[LeaseHolder]:
        """Return the living holders of other leases of this kind."""
        listed = list(self._store.list(self._prefix))
        now = next((found.modified_at for found in listed if found.key == self.key), 0.0)
        return [h for h in holders(listed, now) if h.kind == kind and h.alive and h.key != self.key]

    def taken_at(self) -> float:
        """Return the Unix time at which the lease was last taken, by the store's clock."""
        found = self._store.head(self.key)
        return found.modified_at if found else 0.0

    def drop(self) -> None:
        self._store.delete(self.key)


def holders(listed: list[StoredObject], now: float) -> list[LeaseHolder]:
    """Return the leases of a listing. `now` is a Unix time by the store's clock."""
    found: list[LeaseHolder] = []
    for lease in listed:
        kind, _, who = lease.key.rpartition("/")[2].partition("-")
        if kind in ("stage", "prune"):
            found.append(LeaseHolder(lease.key, kind, who, now - lease.modified_at))
    return found


@contextmanager
def staging_lease(store: ObjectStore, model: str, revision: str, say: Log) -> Iterator[None]:
    """Keep pruners away from a revision while it is staged. Wait for a pruner that is already at work.

    Raises: StoreConflict: the pruner was still at work after a quarter of an hour.
    """
    lease = Lease(store, model, revision, "stage")
    try:
        _wait_for_pruners(lease, f"{model}/{revision}", say)
        yield
    finally:
        # Without a long wait for a silent store: a lease that stays is deleted after a day.
        wait([in_background(lease.drop, "drop-lease")], DROP_WITHIN_S)


def _wait_for_pruners(lease: Lease, what: str, say: Log) -> None:
    end, said = time.monotonic() + WAIT_FOR_PRUNER_S, False
    while pruners := lease.others("prune"):
        if not said:
            dead_after = f"a pruner that was killed is ignored after {PRUNE_LEASE_S // 60} min"
            say(f"waiting for the prune of {what} by {pruners[0].who}; {dead_after}")
            said = True
        if time.monotonic() > end:
            raise StoreConflict(f"{what} is being pruned by {pruners[0].who}.", "Stage it again once that has ended.")
        time.sleep(1.0)
        lease.take()  # its time is the reference for the ages of the others
