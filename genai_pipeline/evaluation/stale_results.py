"""Delete stored results of releases that have no record, or that ended long ago."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from genai_pipeline.core.errors import NotFound, Unreadable
from genai_pipeline.core.record import ENDED, Live, Phase, Record, live_key, read, record_key
from genai_pipeline.evaluation.results import results_prefix
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject

KEPT = 20
"""The results of that many newest ended releases of a model stay; `genai evaluate --against` can name them."""


@dataclass(frozen=True)
class StaleResults:
    """One object to delete; `why` is a sentence without its full stop."""

    key: str
    size_bytes: int
    why: str


def prune_results(
    store: ObjectStore, models: Iterable[str], grace_s: float, dry_run: bool = False, now: float | None = None
) -> list[StaleResults]:
    """Delete the stale results of these models, or only list them. Killed anywhere, it can run again.

    The results of the live release, of the last good one and of every release that has not ended stay. So do results
    written within the grace time, and those whose record or live pointer cannot be read.

    Args:
        grace_s: seconds since the results were written.
        dry_run: only list them.
        now: seconds since the epoch by the clock of the store; None: asked of the store.
    Returns: What was deleted, or would be.
    Raises: StoreUnavailable.
    """
    found: list[StaleResults] = []
    for model in models:  # one after the other, so that each is deleted by what was read just before
        stale = list(_stale(store, model, store.now() if now is None else now, grace_s))
        if not dry_run:
            store.delete_all([each.key for each in stale])
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
    """Return results by release; both sorted by the time of writing, the newest first."""
    found: dict[str, list[StoredObject]] = {}
    for each in sorted(store.list(results_prefix(model)), key=lambda each: -each.modified_at):
        found.setdefault(each.key.split("/")[2], []).append(each)
    return found


def _in_use(store: ObjectStore, model: str) -> Sequence[str | None] | None:
    """Return the releases that the live pointer names, or None where it cannot be read."""
    try:
        live = read(Live, live_key(model), store.get(live_key(model))[0])
    except NotFound:
        return ()
    except Unreadable:
        return None
    return live.release, live.last_good, live.rolled_back


def _phase(store: ObjectStore, model: str, release: str) -> Phase | None:
    """Return None where there is no record. A record that cannot be read counts as under way."""
    key = record_key(model, release)
    try:
        return read(Record, key, store.get(key)[0]).phase
    except NotFound:
        return None
    except Unreadable:
        return Phase.ROLLING_OUT
