"""Copy one revision from hub to store without local disk.

plan -> transfer -> commit. Kill it anywhere and rerun: what the store has is checked, not sent again.
Called by assets/staged_model.py; knows no Dagster, no boto3.
"""

from __future__ import annotations

import getpass
import threading
import time
from collections.abc import Callable

from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import IncompleteModel, StagingError
from genai_pipeline.core.manifest import Manifest
from genai_pipeline.core.snapshot import INDEX_NAME, Snapshot, shards_named_by
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.staging.commit import commit, committed
from genai_pipeline.staging.judge import judge_staged
from genai_pipeline.staging.plan import PlannedFile, plan_staging
from genai_pipeline.staging.sweep import sweep
from genai_pipeline.staging.transfer import MIB, PART_SIZE, Transfer

SAY_EVERY_S = 2.0


class Stager:
    """Brings revisions into the store, and checks those that are there."""

    def __init__(self, hub: Hub, store: ObjectStore, part_size: int = PART_SIZE) -> None:
        self._hub = hub
        self._store = store
        self._part_size = part_size

    def stage(self, model: str, snapshot: Snapshot, say: Callable[[str], None] = lambda _: None) -> Manifest:
        """Stage a snapshot; one that is staged already costs a listing.

        Raises: UnsafeFormat, IncompleteModel, ChecksumMismatch, HubUnavailable, StoreUnavailable.
        """
        self._store.ensure_bucket()
        done = committed(self._store, model, snapshot.revision)
        if done:
            say(f"{model}/{snapshot.revision} is staged already, by {done.written_by} at {done.written_at}")
            return done
        self._refuse_incomplete(snapshot)
        swept = sweep(self._store)
        if swept:
            say(f"aborted {swept} stale multipart uploads")
        planned = plan_staging(model, snapshot, self._store)
        progress = _Progress(planned, say)
        with Transfer(self._hub, self._store, snapshot, progress.bytes_sent, self._part_size) as transfer:
            files = transfer.move(planned, progress.file_done)
        return commit(self._store, model, snapshot, files, f"genai-pipeline, {getpass.getuser()}", utc_now())

    def verify(self, model: str, snapshot: Snapshot) -> list[Verdict]:
        """The verdicts of m/staged_model. Raises: StagingError: nothing is staged."""
        manifest = committed(self._store, model, snapshot.revision)
        if manifest is None:
            raise StagingError(f"{model}/{snapshot.revision} is not staged.", "Materialize staged_model first.")
        return judge_staged(self._store, manifest, snapshot)

    def _refuse_incomplete(self, snapshot: Snapshot) -> None:
        """Read the index before anything is sent: half a model is of no use."""
        paths = {file.path: file for file in snapshot.files}
        if INDEX_NAME not in paths:
            return
        index = b"".join(self._hub.read(snapshot.source, snapshot.revision, INDEX_NAME))
        missing = sorted(shards_named_by(index) - set(paths))
        if missing:
            raise IncompleteModel(
                f"{snapshot.source}@{snapshot.revision[:12]}: the index names {', '.join(missing)}, "
                "which the revision does not hold.",
                "Nothing was staged. Pin another `source.ref` in the model file.",
            )


class _Progress:
    """Says how far a staging is, at most every two seconds and at its end."""

    def __init__(self, planned: list[PlannedFile], say: Callable[[str], None]) -> None:
        self._say = say
        self._total = sum(item.file.size for item in planned)
        self._files = len(planned)
        self._done_files = self._done_bytes = self._in_parts = 0
        self._started = self._said = time.monotonic()
        self._lock = threading.Lock()

    def bytes_sent(self, count: int) -> None:
        with self._lock:
            self._in_parts += count
            self._say_if_due(False)

    def file_done(self, item: PlannedFile) -> None:
        with self._lock:
            self._done_files += 1
            self._done_bytes += item.file.size
            self._say_if_due(self._done_files == self._files)

    def _say_if_due(self, last: bool) -> None:
        now = time.monotonic()
        if not last and now - self._said < SAY_EVERY_S:
            return
        self._said = now
        moved = max(self._done_bytes, self._in_parts)
        rate = moved / MIB / max(now - self._started, 1e-3)
        share = f"{moved / MIB:.1f} of {self._total / MIB:.1f} MiB"
        self._say(f"{self._done_files} of {self._files} files, {share}, {rate:.0f} MiB/s")
