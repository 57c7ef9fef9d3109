"""The op behind the UI's button for an approval; `genai approve` does the same."""

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.resources.configured import RolloutResource


class ApproveConfig(dg.Config):
    """What is approved, and by whom."""

    model: str
    release: str
    by: str


def approve_op() -> dg.OpDefinition:
    @dg.op(name="approve_release", out=dg.Out(dg.Nothing), description="Approve a release; the next tick promotes it.")
    def approve_release(context: dg.OpExecutionContext, config: ApproveConfig, rollout: RolloutResource) -> None:
        with explained():
            record = rollout.engines().approvals().approve(config.model, config.release, config.by)
        context.log.info(f"{config.model}@{config.release} is approved by {record.approved}.")

    return approve_release
