"""The job `roll_back`: give the traffic back to an earlier release. The watch requests it, and so may a user."""

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.live import what_serves
from genai_pipeline.assets.tables import table
from genai_pipeline.core.run_tags import LONGEST_REASON, MODEL_TAG, REASON_TAG
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines


class RollBackConfig(dg.Config):
    """What may be chosen in the launchpad.

    Args:
        release: the one to go back from; empty: whichever is live.
        to: the one to go back to; empty: the last good one.
        reason: stands in the record of the release that is taken away.
        by: who asks.
        only_finish: begin nothing, but finish what was begun.
    """

    model: str
    release: str = ""
    to: str = ""
    reason: str = "asked for by hand"
    by: str = "hand"
    only_finish: bool = False


@dg.op(out=dg.Out(dg.Nothing))
def roll_back_release(context: dg.OpExecutionContext, config: RollBackConfig, rollout: RolloutResource) -> None:
    """Put the live release into quarantine, and give the traffic back."""
    # Without the tag, a run started in the launchpad would not be seen as one of this model.
    tags = {MODEL_TAG: config.model, REASON_TAG: config.reason[:LONGEST_REASON]}
    context.instance.add_run_tags(context.run_id, tags)
    engines = rollout.engines()
    with explained():
        bad = config.release
        if not config.only_finish:
            bad = (
                engines.roll_back()
                .begin(config.model, config.reason, config.by, config.to or None, config.release or None)
                .bad
            )
        engines.roll_back().finish(config.model, context.log.info)
        _show_what_serves(context, engines, config)
    record = engines.records().get(config.model, bad)
    rows = [{"at": event.at, "what": event.what} for event in record.history] if record else []
    context.add_output_metadata({"release": bad, "history": table(rows)})


def _show_what_serves(context: dg.OpExecutionContext, engines: Engines, config: RollBackConfig) -> None:
    """Materialize `m/live` for the release that has the traffic again: else the UI still shows the bad one there."""
    live = engines.records().live(config.model)
    if live is None:
        return
    metadata = {"why": f"rolled back: {config.reason}", **what_serves(engines, config.model)}
    context.log_event(dg.AssetMaterialization([config.model, "live"], partition=live.release, metadata=metadata))


@dg.job(tags={"dagster/priority": "100"})
def roll_back() -> None:
    """Go back to the last good release of a model, or to the one named, and quarantine the live one."""
    # One step, in no pool: it must run where a rollout cannot.
    roll_back_release()
