"""One run in a process of its own: `child.py ours|serial <repository> <hub> <s3> <model> <ref>`.

It writes one JSON object: seconds from the snapshot to the end (without imports), the peak of resident memory,
bytes written to disk, and the figures of the staging itself.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path


def ours(repository: str, hub_url: str, s3_url: str, model: str, ref: str) -> dict[str, object]:
    import boto3  # noqa: F401
    import huggingface_hub.hf_api  # noqa: F401

    from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
    from genai_pipeline.gateways.store.s3 import S3Store
    from genai_pipeline.gateways.store.s3_settings import S3Settings
    from genai_pipeline.staging.meter import StagingProgress
    from genai_pipeline.staging.stager import Stager

    hub, store = HuggingFaceHub(hub_url), S3Store(os.environ["BUCKET"], S3Settings(s3_url))
    reports: list[StagingProgress] = []
    started = time.perf_counter()
    snapshot = hub.snapshot(repository, hub.resolve(repository, ref))
    Stager(hub, store).stage(model, snapshot, progress=reports.append)
    seconds = time.perf_counter() - started
    last = reports[-1]
    moved = {"from_hub": last.bytes_from_source, "copied": last.bytes_copied, "kept": last.bytes_kept}
    return {"seconds": seconds, "requests": dict(last.requests), **moved}


def serial(repository: str, hub_url: str, s3_url: str, model: str, ref: str) -> dict[str, object]:
    """As AWS's guide for EKS does: the whole snapshot to a temporary folder, then file by file to S3."""
    os.environ["HF_ENDPOINT"] = hub_url
    import boto3
    from huggingface_hub import snapshot_download

    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        snapshot_download(repository, revision=ref, local_dir=folder, max_workers=1)
        s3 = boto3.client("s3", endpoint_url=s3_url)
        for file in sorted(p for p in Path(folder).rglob("*") if p.is_file() and ".cache" not in p.parts):
            s3.upload_file(str(file), os.environ["BUCKET"], f"serial/{model}/{file.relative_to(folder)}")
        seconds = time.perf_counter() - started
    return {"seconds": seconds}


def main() -> None:
    which, *arguments = sys.argv[1:]
    found = {"ours": ours, "serial": serial}[which](*arguments)
    status = Path("/proc/self/status").read_text()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    written = next(
        line.split()[1] for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("write_bytes")
    )
    temporary = Path(tempfile.gettempdir())
    left = [str(p.relative_to(temporary)) for p in temporary.rglob("*")]
    print(json.dumps({**found, "peak_rss": int(peak) * 1024, "written_to_disk": int(written), "temporary": left}))


if __name__ == "__main__":
    main()
