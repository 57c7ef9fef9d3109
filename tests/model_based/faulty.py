"""A bucket and a cluster that fail one of the next calls: before it is done, or after, with the reply lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from genai_pipeline.core.errors import ClusterUnavailable, GenaiError, StoreUnavailable
from tests.fakes.standby_door import Sleepers
from tests.fakes.store import MemoryStore
from tests.fakes.world import FakeCluster

MUTATIONS_OF_THE_STORE = ("put", "put_new", "put_if_match", "delete")
QUERIES_OF_THE_STORE = ("get", "list")
MUTATIONS_OF_THE_CLUSTER = ("apply", "scale", "delete")


@dataclass(frozen=True)
class Fault:
    """What goes wrong during one operation.

    Args:
        kind: killed (at a crash point), lost (done, but nobody answers), or refused.
        where: point, store, reading, cluster or door (of an engine that may sleep).
        nth: the call, or the point, that it happens at.
    """

    kind: str
    where: str
    nth: int = 1


class Killed(BaseException):
    """The process is gone; no `except` of ours may see it."""


@dataclass
class Trouble:
    """The fault that is armed; it strikes once."""

    armed: Fault | None = None
    struck: bool = False
    _seen: int = field(default=0, repr=False)

    @contextmanager
    def during(self, fault: Fault | None) -> Iterator[None]:
        self.armed, self.struck, self._seen = fault, False, 0
        try:
            yield
        finally:
            self.armed = None

    def strikes(self, kind: str, where: str) -> bool:
        armed = self.armed
        if self.struck or armed is None or (armed.kind, armed.where) != (kind, where):
            return False
        self._seen += 1
        self.struck = self._seen == armed.nth
        return self.struck

    def crash_point(self, name: str) -> None:
        """Stands where the product's crash points are."""
        if self.strikes("killed", "point"):
            raise Killed(name)


TROUBLE = Trouble()
"""Of the one site that is at work."""


@contextmanager
def surviving(fault: Fault | None) -> Iterator[None]:
    """One operation under a fault: what it raises ends the operation, and nothing else."""
    with TROUBLE.during(fault), suppress(Killed, GenaiError):
        yield


class FaultyStore(MemoryStore):
    trouble = TROUBLE


class FaultyCluster(FakeCluster):
    trouble = TROUBLE


class FaultySleepers(Sleepers):
    trouble = TROUBLE

    def fault_of(self, what: str) -> str:
        if self.trouble.strikes("refused", "door"):
            return "refused"
        return "reply lost" if self.trouble.strikes("lost", "door") else ""


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
