"""Decides which staged revisions are no longer needed. Pure: `pruner.py` reads the store and deletes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

GRACE_S = 7 * 24 * 3600.0


class Fate(StrEnum):
    DELETE = "delete"
    KEEP = "keep"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class StagedRevision:
    """The objects of one revision: its files, and what engines compiled for it.

    Args:
        complete: whether it has a manifest. Without one, a stager is at work or was killed.
        newest_at: Unix time at which its newest file was written, by the store's clock; of caches that are left alone
            the newest of them.
        unclear: why the objects allow no decision, or an empty text if they do.
        cache_bytes: of `size_bytes`, those of compile caches.
    """

    model: str
    revision: str
    objects: int
    size_bytes: int
    newest_at: float
    complete: bool
    unclear: str = ""
    cache_bytes: int = 0

    @property
    def is_only_caches(self) -> bool:
        return not self.complete and 0 < self.cache_bytes == self.size_bytes


@dataclass(frozen=True)
class Reference:
    """Something that refers to a revision.

    Args:
        model: empty means any model.
        revision: the revision or its first digits, as in a release id; empty means all of the model.
        why: completes "it is kept: …".
        ended_at: Unix time at which the need ended; None while it lasts.
        unclear: it could not be read, so it counts as a need.
    """

    model: str
    revision: str
    why: str
    ended_at: float | None = None
    unclear: bool = False

    def is_to(self, staged: StagedRevision) -> bool:
        return self.model in ("", staged.model) and staged.revision.startswith(self.revision)


@dataclass(frozen=True)
class References:
    """All references that are known. `unclear`: model -> why its references could not all be read."""

    found: Sequence[Reference] = ()
    unclear: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class PruneDecision:
    """What happens to a revision. `why` is a sentence for a person, without its full stop."""

    staged: StagedRevision
    fate: Fate
    why: str


def decide(
    staged: Iterable[StagedRevision], references: References, now: float, grace_s: float = GRACE_S
) -> list[PruneDecision]:
    """Return the fate of each revision, and why.

    A revision is deleted if all its references ended at least the grace time ago, and it was written before that.
    An unclear revision is kept and named.

    Args:
        now: Unix time.
    """
    return [_decide(one, references, now, grace_s) for one in staged]


def _decide(staged: StagedRevision, references: References, now: float, grace_s: float) -> PruneDecision:
    mine = [r for r in references.found if r.is_to(staged)]
    unclear = staged.unclear or references.unclear.get(staged.model, "")
    unclear = unclear or next((r.why for r in mine if r.unclear), "")
    holding = next((r for r in mine if r.ended_at is None and not r.unclear), None)
    if holding:  # named first, because it is the better reason; either keeps the revision
        return PruneDecision(staged, Fate.KEEP, holding.why)
    if unclear:
        return PruneDecision(staged, Fate.UNCLEAR, unclear)
    kept_since, why = _latest(staged, mine)
    age = max(0.0, now - kept_since)
    if age < grace_s:
        return PruneDecision(staged, Fate.KEEP, f"{why} {ago(age)}, within the grace time of {span(grace_s)}")
    return PruneDecision(staged, Fate.DELETE, f"nothing refers to it; {why} {ago(age)}")


def _latest(staged: StagedRevision, ended: Sequence[Reference]) -> tuple[float, str]:
    written = (staged.newest_at, _written(staged))
    return max([written, *((r.ended_at or 0.0, r.why) for r in ended)], key=lambda event: event[0])


def _written(staged: StagedRevision) -> str:
    if staged.is_only_caches:
        return "only its compile caches are left, written"
    return "it was staged" if staged.complete else "its staging was left unfinished"


def ago(seconds: float) -> str:
    return f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """`3 days`, `5 h`, `12 min` or `40 s`."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or (unit != "days" and seconds >= size):
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
