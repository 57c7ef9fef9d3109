"""Delete stored results that nobody will look at again: of releases without a record, and of those long ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from genai_pipeline.core.errors import NotFound, Unreadable
from genai_pipeline.core.record import ENDED, Live, Phase, Record, live_key, read, record_key
from genai_pipeline.evaluation.results import results_prefix
from genai_pipeline.gateways.store.abc import DELETED_AT_ONCE, ObjectStore, StoredObject

KEPT = 20
"""Ended releases of a model whose results stay, the newest ones; `genai evaluate --against` can still name them."""


@dataclass(frozen=True)
class StaleResults:
    """One object that goes; `why` is a sentence without its end, for a person."""

    key: str
    size_bytes: int
    why: str


def prune_results(
    store: ObjectStore, models: Iterable[str], grace_s: float, dry_run: bool = False, now: float | None = None
) -> list[StaleResults]:
    """Delete the stale results of these models, or only say which they are. Kill it anywhere and run it again.

    Results of live, of the last good release and of any that has not ended stay, and so do those written within the
    grace time. Where a record or the live pointer cannot be read, what hangs on it stays.

    Raises: StoreUnavailable.
    """
    found: list[StaleResults] = []
    for model in models:  # one after the other, so that each is deleted by what was read just before
        stale = list(_stale(store, model, store.now() if now is None else now, grace_s))
        for start in range(0, 0 if dry_run else len(stale), DELETED_AT_ONCE):
            store.delete_many([each.key for each in stale[start : start + DELETED_AT_ONCE]])
        found += stale
    return found


def _stale(store: ObjectStore, model: str, now: float, grace_s: float) -> Iterator[StaleResults]:
    results, in_use = _newest_first(store, model), _in_use(store, model)
    if in_use is None:
        return
    phases = {release: _phase(store, model, release) for release in results if release not in in_use}
    ended = [release for release, phase in phases.items() if phase in ENDED]
    unneeded = {release: "its release has no record" for release, phase in phases.items() if phase is None}
    unneeded |= {r: f"its release was {phases[r]}, and newer ones have ended since" for r in ended[KEPT:]}
    for release, why in unneeded.items():
        objects = results[release]
        if now - objects[0].modified_at >= grace_s:
            yield from (StaleResults(each.key, each.size, why) for each in objects)


def _newest_first(store: ObjectStore, model: str) -> dict[str, list[StoredObject]]:
    """Release -> its results; both by when they were written, the newest first."""
    found: dict[str, list[StoredObject]] = {}
    for each in sorted(store.list(results_prefix(model)), key=lambda each: -each.modified_at):
        found.setdefault(each.key.split("/")[2], []).append(each)
    return found


def _in_use(store: ObjectStore, model: str) -> Sequence[str | None] | None:
    """What the live pointer names; None where that cannot be told."""
    try:
        live = read(Live, live_key(model), store.get(live_key(model))[0])
    except NotFound:
        return ()
    except Unreadable:
        return None
    return live.release, live.last_good, live.rolled_back


def _phase(store: ObjectStore, model: str, release: str) -> Phase | None:
    """None where there is no record; what cannot be read is taken to be on its way."""
    key = record_key(model, release)
    try:
        return read(Record, key, store.get(key)[0]).phase
    except NotFound:
        return None
    except Unreadable:
        return Phase.ROLLING_OUT
