"""The job that takes a model back to the release that had the traffic before: for the watch, and as a button."""

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.tables import table
from genai_pipeline.automation.rollouts import REASON_TAG, RELEASE_TAG
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.runs import MODEL_TAG

ROLL_BACK = "roll_back"
LONGEST_TAG = 200
"""A reason may quote an engine's whole log; the record has all of it."""


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


@dg.op(out=dg.Out(dg.Nothing), description="Put the live release into quarantine and give the traffic back.")
def roll_back_release(context: dg.OpExecutionContext, config: RollBackConfig, rollout: RolloutResource) -> None:
    """Begin, and do whatever is left."""
    # Without the tag, a run started in the launchpad would not be seen as one of this model.
    tags = {MODEL_TAG: config.model, REASON_TAG: config.reason[:LONGEST_TAG]}
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
    record = engines.records().get(config.model, bad)
    rows = [{"at": event.at, "what": event.what} for event in record.history] if record else []
    context.add_output_metadata({"release": bad, "history": table(rows)})


def roll_back_job() -> dg.JobDefinition:
    """One step: it must run where a rollout cannot, so it shares nothing with one."""
    description = "Go back to the last good release of a model, or to the one named, and quarantine the live one."
    graph = dg.GraphDefinition(ROLL_BACK, node_defs=[roll_back_release], description=description)
    return graph.to_job(tags={"dagster/priority": "100"})


def finish_request(model: str, release: str, attempt: int, reason: str) -> dg.RunRequest:
    """Ask for a run that finishes going back from `release`, or whatever else is unfinished."""
    config = RollBackConfig(model=model, release=release, reason=reason, by="watch", only_finish=True)
    return dg.RunRequest(
        job_name=ROLL_BACK,
        run_key=f"rollback:{model}:{release}:{attempt}",
        run_config=dg.RunConfig(ops={"roll_back_release": config}),
        tags={MODEL_TAG: model, RELEASE_TAG: release, REASON_TAG: reason[:LONGEST_TAG]},
    )
