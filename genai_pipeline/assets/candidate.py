"""m/candidate: the release running beside the live one, proven by real completions."""

import dagster as dg

from genai_pipeline.assets.compile_caching import CompileCaching
from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.facts import Facts
from genai_pipeline.core.profile import Profile
from genai_pipeline.k8s.engine import engine_args
from genai_pipeline.k8s.render import loaded_from
from genai_pipeline.resources.configured import EndpointsResource, MetricsResource, ProfileResource, RolloutResource


@release_asset(
    deps=["staged_model", "capacity", "platform/observability"],
    kinds={"vllm", "kubernetes"},
    checks=CHECKS["candidate"],
)
def candidate(
    context: ReleaseContext,
    profile: ProfileResource,
    endpoints: EndpointsResource,
    metrics: MetricsResource,
    rollout: RolloutResource,
) -> AssetResult:
    """The engine of this release, without user traffic, answering real completions."""
    from genai_pipeline.loadtest.acceptance import accept_candidate
    from genai_pipeline.rollout.upkeep.drift_detection import deployed

    release, settings = context.release, profile.settings()
    if context.record.facts.strategy == "recreate":
        _make_room(context, rollout)
    caching = CompileCaching(context, rollout.engines())
    caching.pin()
    url = rollout.engines().candidates().start_engine(context.spec, release, context.log)
    verdicts = accept_candidate(
        endpoints.inference(url),
        metrics.reader(),
        release.model,
        loaded_from(settings, release),
        task=release.task,
        asked=context.checks,
        max_tokens=context.spec.gates.serving.check_tokens,
    )
    metadata = {
        "endpoint": dg.MetadataValue.url(f"{url}/v1"),
        "object": release.object_name,
        "engine_arguments": " ".join(engine_args(context.spec.serving, release, settings)),
    }
    metadata |= caching.started(url) | _about_head(context, settings)
    return AssetResult(verdicts, metadata, Facts(deployed=deployed(context.spec, release, settings)))


def _about_head(context: ReleaseContext, settings: Profile) -> dict[str, str]:
    """Return as metadata, and log, that the end of a Ray head ends its workers; nothing where it does not."""
    from genai_pipeline.rollout.switch.workloads import HEAD_IS_ALONE

    if context.release.engine != "ray" or settings.ray_redis:
        return {}
    context.log(HEAD_IS_ALONE)
    return {"ray_head": HEAD_IS_ALONE}


def _make_room(context: ReleaseContext, rollout: RolloutResource) -> None:
    """Stop the live release where the model file allows the downtime."""
    from genai_pipeline.rollout.capacity.downtime import refuse_unless_allowed
    from genai_pipeline.rollout.capacity.standing import standing_of

    engines = rollout.engines()
    refuse_unless_allowed(context.spec, standing_of(context.record, engines.records(), engines.candidates()))
    engines.candidates().refuse_unknown(context.spec, context.release)
    engines.cut_over().make_room_for(context.spec, context.release, context.log)
