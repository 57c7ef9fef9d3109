"""m/serving_report: the candidate under load, judged against the model file's gates."""

import dagster as dg

from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.facts import Facts, ServingFigures
from genai_pipeline.resources.configured import MetricsResource, RolloutResource


@release_asset(deps=["candidate"], kinds={"prometheus"}, checks=CHECKS["serving_report"])
def serving_report(context: ReleaseContext, metrics: MetricsResource, rollout: RolloutResource) -> AssetResult:
    """TTFT, tokens per second, errors, KV cache and queue under load, against the gates."""
    from genai_pipeline.loadtest.load_test import measure

    engines, release = rollout.engines(), context.release
    # The agent of an earlier attempt would ask questions of its own while requests are counted.
    engines.candidates().stop_agent(release, unless_live=engines.traffic().on(release.model, "agent"))
    result = measure(
        engines.candidates().engine_url(release),
        release.model,
        context.spec.gates.serving,
        metrics.reader(),
        has_gpu=context.spec.serving.gpu is not None,
        on_progress=context.log,
    )
    metadata = {
        "plot": dg.MetadataValue.md(result.plot),
        "figures": table([{"figure": k, "value": v} for k, v in result.summary.items()]),
    }
    return AssetResult(result.verdicts, metadata, Facts(serving=ServingFigures.model_validate(result.summary)))
