"""Delete what `prune.py` decides, without ever taking bytes from under a new manifest.

lease -> look again -> manifest -> files -> lease away. The manifest goes first, so that a half-deleted model never
exists; what is left without one is a staging left unfinished: the next prune deletes it, the next stager completes it.

What can happen at once, and why it does no damage:

- A stager of the same revision. It holds a lease, or sees ours and waits (`lease.py`). Having waited, it finds no
  manifest and stages what is gone.
- A new release of the revision. Its record is written before its run starts. Written before we look again, it keeps the
  revision; written later, its stager waits for us as above.
- A stager of another revision that copies from this one. A copy is whole or fails; then that file comes from the
  source. Its manifest names its own prefix only.
- Another pruner. Both delete the same; each has a lease of its own, and a stager waits for the last.
- We stop for minutes between two requests. Before the next one the lease is taken again, stagers are looked for, and a
  manifest that came back ends the prune.
- We are killed. Our lease holds stagers up for `PRUNE_LEASE_S`, and no pruner.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from genai_pipeline.core.errors import StoreConflict
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import manifest_key, staged_prefix
from genai_pipeline.core.progress import Log
from genai_pipeline.gateways.store.abc import DELETED_AT_ONCE, ObjectStore
from genai_pipeline.staging.inventory import staged_revisions
from genai_pipeline.staging.lease import LEASES, STAGE_LEASE_S, Lease, LeaseHolder, holders
from genai_pipeline.staging.prune_decision import GRACE_S, Fate, PruneDecision, Reference, References, decide
from genai_pipeline.staging.sweep import sweep

Referring = Callable[[Collection[str]], References]
"""Everything that refers to revisions of these models, read anew each time. Raises GenaiError: it is not known."""


@dataclass(frozen=True)
class Pruned:
    """What came of a decision; `deleted` is false for one that did not hold when it was looked at again."""

    decision: PruneDecision
    deleted: bool


class Pruner:
    """Looks, decides and deletes. Kill it anywhere and run it again."""

    def __init__(self, store: ObjectStore, referring: Referring, grace_s: float = GRACE_S) -> None:
        self._store = store
        self._referring = referring
        self._grace_s = grace_s

    def plan(self, only: Collection[str] = ()) -> list[PruneDecision]:
        """The fate of every staged revision, of all models or of some. Reads only."""
        staged = [s for s in staged_revisions(self._store) if not only or s.model in only]
        now = self._store.now()
        references = self._with_stagers(self._referring({s.model for s in staged}), now)
        return decide(staged, references, now, self._grace_s)

    def carry_out(self, decisions: Iterable[PruneDecision], say: Log = lambda _: None) -> list[Pruned]:
        """Delete what was decided to be deleted and still is, one revision after the other."""
        return [self._delete(d, say) for d in decisions if d.fate is Fate.DELETE]

    def _delete(self, decision: PruneDecision, say: Log) -> Pruned:
        model, revision = decision.staged.model, decision.staged.revision
        what = f"{model}/{revision}"
        lease = Lease(self._store, model, revision, "prune")
        crash_point("prune.after_lease")
        again = self._look_again(lease, model, revision)
        if again is None or again.fate is not Fate.DELETE:
            lease.drop()
            say(f"kept {what}: {again.why if again else 'somebody else deleted it'}")
            return Pruned(again or decision, False)
        self._store.delete(manifest_key(model, revision))
        crash_point("prune.after_manifest")
        self._delete_files(lease, model, revision)
        crash_point("prune.before_lease_goes")
        lease.drop()  # not in a finally: after an error a delete may still be under way, which the lease has to outlive
        say(f"deleted {what}: {again.why}")
        return Pruned(again, True)

    def _look_again(self, lease: Lease, model: str, revision: str) -> PruneDecision | None:
        """The decision of now, with our lease in place; None where nothing is left to decide about."""
        stagers = [_as_reference(h, model, revision) for h in lease.others("stage")]
        references = self._referring([model])
        references = replace(references, found=(*references.found, *stagers))
        staged = staged_revisions(self._store, model, revision)
        return next(iter(decide(staged, references, lease.taken_at(), self._grace_s)), None)

    def _delete_files(self, lease: Lease, model: str, revision: str) -> None:
        keys = [found.key for found in self._store.list(staged_prefix(model, revision))]
        for start in range(0, len(keys), DELETED_AT_ONCE):
            if lease.due:
                self._keep_lease(lease, model, revision)
            self._store.delete_many(keys[start : start + DELETED_AT_ONCE])
            crash_point("prune.after_batch")

    def _keep_lease(self, lease: Lease, model: str, revision: str) -> None:
        """Raises: StoreConflict: we were away for so long that a stager took us for dead."""
        lease.take()
        if lease.others("stage") or self._store.head(manifest_key(model, revision)):
            lease.drop()
            raise StoreConflict(f"{model}/{revision} is staged again while it was pruned.", "It is left alone.")

    def _with_stagers(self, references: References, now: float) -> References:
        """These references and those of the stagers at work anywhere."""
        listed = list(self._store.list(LEASES))
        found: list[Reference] = []
        for holder in holders(listed, now):
            model, revision = holder.key.removeprefix(LEASES).split("/")[:2]
            if holder.kind == "stage" and holder.alive:
                found.append(_as_reference(holder, model, revision))
        return replace(references, found=(*references.found, *found))

    def tidy(self, now: float | None = None) -> str:
        """Throw away what the dead left more than a day ago, uploads and leases; says what, or nothing."""
        now = self._store.now() if now is None else now
        uploads = sweep(self._store, now)
        dead = [h.key for h in holders(list(self._store.list(LEASES)), now) if h.age_s > STAGE_LEASE_S]
        for start in range(0, len(dead), DELETED_AT_ONCE):
            self._store.delete_many(dead[start : start + DELETED_AT_ONCE])
        return f"{uploads} stale uploads and {len(dead)} stale leases thrown away." if uploads or dead else ""


def _as_reference(stager: LeaseHolder, model: str, revision: str) -> Reference:
    return Reference(model, revision, f"it is being staged by {stager.who}")


def deleted_bytes(pruned: Sequence[Pruned]) -> int:
    return sum(p.decision.staged.size_bytes for p in pruned if p.deleted)
