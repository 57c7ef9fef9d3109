"""Find out whether a model's live release may be looked after now."""

from collections.abc import Sequence

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Phase
from genai_pipeline.rollout.control.controller import ActiveRun
from genai_pipeline.rollout.record.records import Records


def why_busy(records: Records, spec: ModelSpec, under_way: Sequence[ActiveRun]) -> str:
    """Return what is under way, or an empty text. Raises: StoreUnavailable."""
    busy = next((run.what for run in under_way if run.model == spec.name), "")
    if busy:
        return f"{busy} is under way"
    live = records.live(spec.name)
    if live is None:
        return "no release is live"
    if live.watched_until:
        return f"{live.release} is being watched until {live.watched_until}"
    record = records.get(spec.name, live.release)
    if record is None or record.phase is Phase.ROLLED_BACK:
        return f"{live.release} is being rolled back" if record else f"{live.release} has no record"
    return ""
