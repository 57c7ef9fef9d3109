"""m/staged_model: verified weights in S3; they exist only once manifest.json does."""

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.k8s.render import weights_url


def _stage(hand: InHand) -> Findings:
    from genai_pipeline.assets.staging_metadata import StagingWatch, staged_metadata
    from genai_pipeline.staging.stager import Stager

    gateways, release = hand.engines.gateways, hand.release
    source = gateways.source(hand.spec.source)
    snapshot = source.snapshot(hand.spec.source.address, release.revision)
    stager = Stager(source, gateways.store)
    watch = StagingWatch(hand.observe)
    manifest = stager.stage(release.model, snapshot, hand.say, watch)
    metadata = {"prefix": weights_url(hand.engines.profile, release), **staged_metadata(manifest, watch)}
    return Findings(stager.verify(release.model, snapshot), metadata)


STAGED_MODEL = ReleaseAsset(
    name="staged_model",
    deps=("snapshot",),
    kinds=frozenset({"s3"}),
    description="The snapshot's bytes in S3, verified against the hub's digests without touching a disk.",
    work=_stage,
)
