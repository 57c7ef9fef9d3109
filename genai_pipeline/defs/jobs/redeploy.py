"""The job `redeploy`: deploy a live release again. The sensor `redeploys` requests it, and so may a user."""

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.tables import table
from genai_pipeline.core.errors import NotFound, NotReady
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.run_tags import UPKEEP_TAG
from genai_pipeline.resources.configured import ModelsResource, RolloutResource
from genai_pipeline.resources.runs import runs_under_way


class RedeployConfig(dg.Config):
    """Which model, and why. `fingerprint` is of the cause, which is not tried again when it fails."""

    model: str
    reason: str = "asked for by hand"
    fingerprint: str = ""


@dg.op(out=dg.Out(dg.Nothing))
def redeploy_live_release(
    context: dg.OpExecutionContext, config: RedeployConfig, models: ModelsResource, rollout: RolloutResource
) -> None:
    """Apply what is rendered for the live release, wait, and prove it through the stable address."""
    with explained():
        spec = _spec(models.files(), config.model)
        _refuse_if_busy(context, spec)
        rows = rollout.engines().redeploy().carry_out(spec, config.reason, config.fingerprint, context.log.info)
    context.add_output_metadata({"reason": config.reason, "differences": table(rows), "differed": len(rows)})


@dg.job(tags={UPKEEP_TAG: "true"})
def redeploy() -> None:
    """Bring the live release's objects to what this code renders. Old pods serve until new ones are ready."""
    redeploy_live_release()


def _spec(files: ModelFiles, model: str) -> ModelSpec:
    found = next((spec for spec in files.specs if spec.name == model), None)
    if found is None:
        raise NotFound(f"There is no model {model}.", f"Known: {', '.join(s.name for s in files.specs) or 'none'}.")
    return found


def _refuse_if_busy(context: dg.OpExecutionContext, spec: ModelSpec) -> None:
    mine = f"(run {context.run_id[:8]})"
    for run in runs_under_way(context.instance):
        if run.model == spec.name and mine not in run.what:
            raise NotReady(f"{run.what} is under way.", "Redeploy when it has ended.")
