"""End a release that failed: say why in its record, take its candidate away, keep the live one."""

from __future__ import annotations

from genai_pipeline.core.record import Phase, Record
from genai_pipeline.core.release import Release
from genai_pipeline.rollout.candidate import Candidates
from genai_pipeline.rollout.records import Records


def reject(records: Records, candidates: Candidates, release: Release, reason: str) -> Record:
    """Mark `release` rejected and remove its candidate; a live release that made room for it comes back."""
    live = records.live(release.model)
    if live and live.release == release.id:
        return records.require(release.model, release.id)
    record = records.update(
        release.model, release.id, lambda r: r.in_phase(Phase.REJECTED, reason), f"rejected: {reason}"
    )
    candidates.remove(release)
    if live and record.facts.get("strategy") == "recreate":
        before = records.require(release.model, live.release)
        candidates.restart(before.model_spec, before.as_release)
    return record
