"""m/staged_model: verified weights in S3; they exist only once manifest.json does."""

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table
from genai_pipeline.k8s.render import weights_url


def _stage(hand: InHand) -> Findings:
    from genai_pipeline.staging.stager import Stager

    gateways, release = hand.platform.gateways, hand.release
    snapshot = gateways.hub.snapshot(hand.spec.source.hub, release.revision)
    stager = Stager(gateways.hub, gateways.store)
    manifest = stager.stage(release.model, snapshot, hand.say)
    files = [{"path": f.path, "bytes": f.size, "sha256": f.sha256} for f in manifest.files]
    metadata = {
        "files": table(files),
        "bytes": manifest.size_bytes,
        "prefix": weights_url(hand.platform.profile, release),
    }
    return Findings(stager.verify(release.model, snapshot), metadata)


STAGED_MODEL = ReleaseAsset(
    name="staged_model",
    deps=("snapshot",),
    kinds=frozenset({"s3"}),
    description="The snapshot's bytes in S3, verified against the hub's digests without touching a disk.",
    work=_stage,
)
