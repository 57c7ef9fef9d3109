"""Deletes what `prune_decision.py` decides, and never the files of a new manifest.

lease -> look again -> manifest -> files and caches -> drop the lease. The manifest is deleted first, so a half-deleted
model never exists. What is left without a manifest is an unfinished staging: the next prune deletes it, or the next
stager completes it. An engine whose compile cache is gone compiles again.

What can happen at the same time, and why it does no damage:

- A stager of the same revision. It holds a lease, or it sees the pruner's lease and waits (`lease.py`). After the wait
  it finds no manifest, and stages the missing files.
- A new release of the revision. Its record is written before its run starts. Written before the second look, it keeps
  the revision. If it is written later, its stager waits as above.
- A stager of another revision that copies from this one. A copy is whole or fails; then that file comes from the
  source. The manifest of that stager names its own prefix only.
- Another pruner. Both delete the same files. Each has its own lease, and a stager waits for the last one.
- The pruner stops for minutes between two requests. Before the next request it takes its lease again and looks for
  stagers; a manifest that came back ends the prune.
- The pruner is killed. Its lease makes stagers wait for `PRUNE_LEASE_S`, but no pruner.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from genai_pipeline.core.errors import StoreConflict
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import manifest_key
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.staging.compile_caches import orphans
from genai_pipeline.staging.inventory import objects_of, staged_revisions
from genai_pipeline.staging.lease import LEASES, STAGE_LEASE_S, Lease, LeaseHolder, holders
from genai_pipeline.staging.prune_decision import GRACE_S, Fate, PruneDecision, Reference, References, decide
from genai_pipeline.staging.sweep import sweep

Referring = Callable[[Collection[str]], References]
"""Returns everything that refers to revisions of these models, read again each time. Raises GenaiError: unknown."""


@dataclass(frozen=True)
class Pruned:
    """The result of a decision; `deleted` is false if the second look decided otherwise."""

    decision: PruneDecision
    deleted: bool


class Pruner:
    """Looks, decides and deletes. Kill it anywhere and run it again."""

    def __init__(self, store: ObjectStore, referring: Referring, grace_s: float = GRACE_S) -> None:
        self._store = store
        self._referring = referring
        self._grace_s = grace_s

    def plan(self, only: Collection[str] = ()) -> list[PruneDecision]:
        """Return the fate of every staged revision, of all models or of some. It only reads."""
        staged = [s for s in staged_revisions(self._store) if not only or s.model in only]
        now = self._store.now()
        references = self._with_stagers(self._referring({s.model for s in staged}), now)
        return decide(staged, references, now, self._grace_s)

    def carry_out(self, decisions: Iterable[PruneDecision], say: Log = lambda _: None) -> list[Pruned]:
        """Delete the revisions whose decision still holds, one after the other."""
        return [self._delete(d, say) for d in decisions if d.fate is Fate.DELETE]

    def _delete(self, decision: PruneDecision, say: Log) -> Pruned:
        model, revision = decision.staged.model, decision.staged.revision
        what = f"{model}/{revision}"
        lease = Lease(self._store, model, revision, "prune")
        crash_point("prune.after_lease")
        again = self._look_again(lease, model, revision)
        if again is None or again.fate is not Fate.DELETE:
            lease.drop()
            say(f"kept {what}: {again.why if again else 'another prune deleted it'}")
            return Pruned(again or decision, False)
        self._store.delete(manifest_key(model, revision))
        crash_point("prune.after_manifest")
        self._delete_files(lease, model, revision)
        crash_point("prune.before_lease_goes")
        lease.drop()  # not in a finally: after an error, a delete may still be under way, and the lease must outlive it
        say(f"deleted {what}: {again.why}")
        return Pruned(again, True)

    def _look_again(self, lease: Lease, model: str, revision: str) -> PruneDecision | None:
        """Decide again, with the lease in place, or None if no object is left."""
        stagers = [_as_reference(h, model, revision) for h in lease.others("stage")]
        references = self._referring([model])
        references = replace(references, found=(*references.found, *stagers))
        staged = staged_revisions(self._store, model, revision)
        return next(iter(decide(staged, references, lease.taken_at(), self._grace_s)), None)

    def _delete_files(self, lease: Lease, model: str, revision: str) -> None:
        keys = [found.key for prefix in objects_of(model, revision) for found in self._store.list(prefix)]
        while keys:
            if lease.due:
                self._keep_lease(lease, model, revision)
            keys = keys[self._store.delete_first(keys) :]
            crash_point("prune.after_batch")

    def _keep_lease(self, lease: Lease, model: str, revision: str) -> None:
        """Take the lease again. Raises: StoreConflict: it had expired, and a stager has begun."""
        lease.take()
        if lease.others("stage") or self._store.head(manifest_key(model, revision)):
            lease.drop()
            raise StoreConflict(f"{model}/{revision} was staged again while it was pruned.", "It is kept.")

    def _with_stagers(self, references: References, now: float) -> References:
        """Return these references, and those of all stagers at work."""
        listed = list(self._store.list(LEASES))
        found: list[Reference] = []
        for holder in holders(listed, now):
            model, revision = holder.key.removeprefix(LEASES).split("/")[:2]
            if holder.kind == "stage" and holder.alive:
                found.append(_as_reference(holder, model, revision))
        return replace(references, found=(*references.found, *found))

    def tidy(self, now: float | None = None) -> str:
        """Delete uploads, leases and archives without a manifest that are older than a day.

        Returns: A line about it, or an empty string.
        """
        now = self._store.now() if now is None else now
        uploads = sweep(self._store, now)
        dead = [h.key for h in holders(list(self._store.list(LEASES)), now) if h.age_s > STAGE_LEASE_S]
        archives = orphans(self._store, now)
        self._store.delete_all([*dead, *archives])
        counts = {"uploads": uploads, "leases": len(dead), "compile caches": len(archives)}
        said = [f"{count} stale {what}" for what, count in counts.items() if count]
        return f"{' and '.join(said)} deleted." if said else ""


def _as_reference(stager: LeaseHolder, model: str, revision: str) -> Reference:
    return Reference(model, revision, f"it is being staged by {stager.who}")


def deleted_bytes(pruned: Sequence[Pruned]) -> int:
    return sum(p.decision.staged.size_bytes for p in pruned if p.deleted)
