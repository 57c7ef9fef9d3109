"""A bucket and a cluster that fail one of the next calls: before it is done, or after, with the reply lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from genai_pipeline.core.errors import ClusterUnavailable, StoreUnavailable
from genai_pipeline.core.faults import ARMED_BY
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeCluster

MUTATIONS_OF_THE_STORE = ("put", "put_new", "put_if_match", "delete")
QUERIES_OF_THE_STORE = ("get", "list")
MUTATIONS_OF_THE_CLUSTER = ("apply", "scale", "delete")


@dataclass(frozen=True)
class Fault:
    """What goes wrong during one operation.

    Args:
        kind: crash (at the crash point `where`), or lost, or refused.
        where: a crash point, store or cluster.
        nth: the call that it happens to.
    """

    kind: str
    where: str
    nth: int = 1


@dataclass
class Trouble:
    """The fault that is armed; it strikes once."""

    armed: Fault | None = None
    struck: bool = False
    _seen: int = field(default=0, repr=False)

    @contextmanager
    def during(self, fault: Fault | None) -> Iterator[None]:
        self.armed, self.struck, self._seen = fault, False, 0
        if fault and fault.kind == "crash":
            os.environ[ARMED_BY] = f"{fault.where}:exception"
        try:
            yield
        finally:
            self.armed = None
            os.environ.pop(ARMED_BY, None)

    def strikes(self, kind: str, where: str) -> bool:
        armed = self.armed
        if self.struck or armed is None or (armed.kind, armed.where) != (kind, where):
            return False
        self._seen += 1
        self.struck = self._seen == armed.nth
        return self.struck


class FaultyStore(MemoryStore):
    trouble = Trouble()


class FaultyCluster(FakeCluster):
    trouble = Trouble()


def _with_faults(kind, method, where, error):
    done = getattr(kind, method)

    def called(self, *args, **kwargs):
        if self.trouble.strikes("refused", where):
            raise error(f"The {where} did not answer {method}.", "Try again.")
        answer = done(self, *args, **kwargs)
        if self.trouble.strikes("lost", where):
            raise error(f"The {where} did not answer {method}, and did it.", "Try again.")
        return answer

    return called


for _method in MUTATIONS_OF_THE_STORE:
    setattr(FaultyStore, _method, _with_faults(MemoryStore, _method, "store", StoreUnavailable))
for _method in QUERIES_OF_THE_STORE:
    setattr(FaultyStore, _method, _with_faults(MemoryStore, _method, "reading", StoreUnavailable))
for _method in MUTATIONS_OF_THE_CLUSTER:
    setattr(FaultyCluster, _method, _with_faults(FakeCluster, _method, "cluster", ClusterUnavailable))
