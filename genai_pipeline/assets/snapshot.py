"""m/snapshot: the files of one revision, as the hub publishes them."""

from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.resources.configured import HubResource


@release_asset(kinds={"huggingface"}, checks=CHECKS["snapshot"])
def snapshot(context: ReleaseContext, hub: HubResource) -> AssetResult:
    """The files of one revision: path, size and digest, as their source publishes them."""
    from genai_pipeline.staging.staging_verdicts import judge_snapshot

    source = hub.source(context.spec.source)
    found = source.snapshot(context.spec.source.address, context.release.revision)
    files = [{"path": f.path, "bytes": f.size, "sha256": f.sha256 or ""} for f in found.files]
    left_out = [{"path": left.file.path, "bytes": left.file.size, "why": left.why} for left in found.left_out]
    metadata = {
        "files": table(files),
        "left_out": table(left_out) if left_out else "none",
        "bytes": found.size_bytes,
        "licence": found.licence or "none",
    }
    spec = context.spec
    verdicts = judge_snapshot(found, spec.source.licences, source, spec.serving.args, spec.task, spec.has_agent)
    return AssetResult(verdicts, metadata)
