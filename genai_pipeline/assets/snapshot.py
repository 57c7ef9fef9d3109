"""m/snapshot: the files of one revision, as the hub publishes them."""

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table


def _look(hand: InHand) -> Findings:
    from genai_pipeline.staging.staging_verdicts import judge_snapshot

    source = hand.engines.gateways.source(hand.spec.source)
    snapshot = source.snapshot(hand.spec.source.address, hand.release.revision)
    files = [{"path": f.path, "bytes": f.size, "sha256": f.sha256 or ""} for f in snapshot.files]
    metadata = {"files": table(files), "bytes": snapshot.size_bytes, "licence": snapshot.licence or "none"}
    return Findings(judge_snapshot(snapshot, hand.spec.source.licences, source), metadata)


SNAPSHOT = ReleaseAsset(
    name="snapshot",
    deps=(),
    kinds=frozenset({"huggingface"}),
    description="The files of one revision: path, size and digest, as their source publishes them.",
    work=_look,
)
