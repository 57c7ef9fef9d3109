"""Copies one revision from hub to store without local disk.

plan -> transfer -> commit. Kill it anywhere and run it again: files that the store has are checked, not sent again.
assets/staged_model.py calls it. It knows neither Dagster nor boto3.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence

from genai_pipeline.core.clock import for_people, utc_now
from genai_pipeline.core.errors import StagingError
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.manifest import Manifest
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.staging.bucket_probe import require_uploads
from genai_pipeline.staging.commit import commit, committed
from genai_pipeline.staging.lease import staging_lease
from genai_pipeline.staging.meter import Meter, Observer, TransferMethod
from genai_pipeline.staging.preflight import preflight
from genai_pipeline.staging.staging_verdicts import judge_staged
from genai_pipeline.staging.sweep import sweep
from genai_pipeline.staging.transfer import PART_SIZE, Transfer
from genai_pipeline.staging.transfer_plan import PlannedFile, plan_staging


class Stager:
    """Stages revisions, and checks those that are staged."""

    def __init__(self, hub: Hub, store: ObjectStore, part_size: int = PART_SIZE) -> None:
        self._hub = hub
        self._store = store
        self._part_size = part_size

    def stage(
        self,
        model: str,
        snapshot: Snapshot,
        say: Callable[[str], None] = lambda _: None,
        progress: Observer = lambda _: None,
    ) -> Manifest:
        """Stage a snapshot. If it is staged already, that costs a few requests.

        Args:
            say: called with log lines.
            progress: called with the state at most four times a second, and once at the end. For a revision that is
                staged already it is not called.

        Raises: UnsafePath, UnsafeFormat, IncompleteModel, ChecksumMismatch, HubUnavailable, StoreUnavailable.
        """
        self._store.ensure_bucket()
        with staging_lease(self._store, model, snapshot.revision, say):
            return self._stage(model, snapshot, say, progress)

    def _stage(self, model: str, snapshot: Snapshot, say: Callable[[str], None], progress: Observer) -> Manifest:
        done = committed(self._store, model, snapshot.revision)
        if done:
            say(f"{model}/{snapshot.revision} was staged before, on {for_people(done.written_at)}: nothing is copied")
            return done
        before = self._store.requests()
        preflight(self._hub, snapshot)
        swept = sweep(self._store)
        if swept:
            say(f"aborted {swept} stale multipart uploads")
        planned = plan_staging(model, snapshot, self._store)
        if not self._store.abilities.known and self._sends_parts(planned):
            require_uploads(self._store)
        crash_point("staging.planned")
        meter = Meter(model, snapshot.revision, _files(planned), say, progress, self._store.requests, before)
        with Transfer(self._hub, self._store, model, snapshot, meter, self._part_size) as transfer:
            files = transfer.move(planned)
        manifest = commit(self._store, model, snapshot, files, f"genai-pipeline, {getpass.getuser()}", utc_now())
        meter.finish()
        return manifest

    def _sends_parts(self, planned: Sequence[PlannedFile]) -> bool:
        return any(item.how is TransferMethod.STREAMED and item.file.size > self._part_size for item in planned)

    def verify(self, model: str, snapshot: Snapshot) -> list[Verdict]:
        """Return the verdicts of m/staged_model. Raises: StagingError: the revision is not staged."""
        manifest = committed(self._store, model, snapshot.revision)
        if manifest is None:
            raise StagingError(f"{model}/{snapshot.revision} is not staged.", "Materialize staged_model first.")
        return judge_staged(self._store, manifest, snapshot)


def _files(planned: Sequence[PlannedFile]) -> list[tuple[str, int, TransferMethod]]:
    return [(item.file.path, item.file.size, item.how) for item in planned]
