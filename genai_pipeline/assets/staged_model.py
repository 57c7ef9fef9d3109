"""m/staged_model: verified weights in S3. They exist only when their manifest.json exists."""

from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.k8s.render import weights_url
from genai_pipeline.resources.configured import HubResource, ProfileResource, StoreResource


@release_asset(deps=["snapshot"], kinds={"s3"}, checks=CHECKS["staged_model"])
def staged_model(
    context: ReleaseContext, hub: HubResource, store: StoreResource, profile: ProfileResource
) -> AssetResult:
    """The snapshot's bytes in S3, verified against the hub's digests without touching a disk."""
    from genai_pipeline.assets.staging_metadata import StagingWatch, staged_metadata
    from genai_pipeline.staging.named_revisions import require_named_revisions
    from genai_pipeline.staging.stager import Stager

    require_named_revisions(store.objects(), context.spec.serving.args, context.log)
    release, source = context.release, hub.source(context.spec.source)
    snapshot = source.snapshot(context.spec.source.address, release.revision)
    stager = Stager(source, store.objects())
    watch = StagingWatch(context.observe)
    manifest = stager.stage(release.model, snapshot, context.log, watch)
    metadata = {"prefix": weights_url(profile.settings(), release), **staged_metadata(manifest, watch)}
    return AssetResult(stager.verify(release.model, snapshot), metadata, watch.facts)
