"""The job `approve`: the UI's button for an approval. `genai approve` does the same."""

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.resources.configured import RolloutResource


class ApproveConfig(dg.Config):
    """What is approved, and by whom."""

    model: str
    release: str
    by: str


@dg.op(out=dg.Out(dg.Nothing))
def approve_release(context: dg.OpExecutionContext, config: ApproveConfig, rollout: RolloutResource) -> None:
    """Approve a release. The next tick of its version sensor promotes it."""
    with explained():
        record = rollout.engines().approvals().approve(config.model, config.release, config.by)
    context.log.info(f"{config.model}@{config.release} is approved by {record.approved}.")


@dg.job
def approve() -> None:
    """Let a release that waits for approval have the user traffic. Its assets have the reports."""
    approve_release()
