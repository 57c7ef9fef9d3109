"""m/serving_report: the candidate under load, judged against the model file's gates."""

from typing import TYPE_CHECKING

import dagster as dg

from genai_pipeline.assets.compile_caching import CompileCaching
from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.facts import Facts, ServingFigures
from genai_pipeline.resources.configured import MetricsResource, RolloutResource

if TYPE_CHECKING:
    from genai_pipeline.loadtest.scale_out import ScaleOutLoad
    from genai_pipeline.rollout.switch.candidates import Candidates


@release_asset(deps=["candidate"], kinds={"prometheus"}, checks=CHECKS["serving_report"])
def serving_report(context: ReleaseContext, metrics: MetricsResource, rollout: RolloutResource) -> AssetResult:
    """Times, tokens per second, errors, KV cache and queue under load, against the gates, as the task has them."""
    from genai_pipeline.assets.load_by_pod import sender_of
    from genai_pipeline.loadtest.load_test import measure

    engines, release = rollout.engines(), context.release
    # The agent of an earlier attempt would ask questions of its own while requests are counted.
    if engines.traffic().on(release.model, "agent") != release.id:
        engines.candidates().stop_agent(release)
    result = measure(
        engines.candidates().engine_url(release),
        release.model,
        context.spec.gates.serving,
        metrics.reader(),
        task=release.task,
        gpu=context.spec.serving.gpu,
        scale_out=_scale_out(context, engines.candidates()) if context.spec.gates.serving.scale_out else None,
        on_progress=context.log,
        send=sender_of(context.open_session, engines, release),
    )
    metadata = {
        "plot": dg.MetadataValue.md(result.plot),
        "figures": table([{"figure": k, "value": v} for k, v in result.summary.items()]),
    }
    if result.gpus:
        metadata["gpus"] = table(result.gpus)
    metadata |= CompileCaching(context, engines).keep(result.verdicts)  # with the kernels that the load compiled
    return AssetResult(result.verdicts, metadata, Facts(serving=ServingFigures.model_validate(result.summary)))


def _scale_out(context: ReleaseContext, candidates: "Candidates") -> "ScaleOutLoad":
    """Return the load of one replica more than run. A replica takes as long as a candidate, after Serve's delay."""
    from genai_pipeline.loadtest.scale_out import ScaleOutLoad

    serving, replicas = context.spec.serving, context.spec.serving.replicas
    return ScaleOutLoad(
        concurrency=replicas.target_ongoing_requests * (replicas.min + 1),
        within_s=replicas.upscale_delay_s + serving.startup_deadline_s,
        adds_replicas=lambda: candidates.adds_replicas(context.release),
    )
