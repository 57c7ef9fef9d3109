"""`genai exporter` as a process, over a real S3."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

from genai_pipeline.core.release import Release
from genai_pipeline.gateways.store.s3 import S3Store
from genai_pipeline.local.ports import free_port
from genai_pipeline.rollout.record.records import Records
from tests.fakes.model_texts import model_with_tools

DEADLINE_S = 120
SPEC = model_with_tools("name: tiny\nsource: {hub: a/b}\n", "tiny.yaml")


def test_it_reads_the_bucket_of_the_profile_and_ends_when_it_is_asked_to(
    s3_server: Any, store: S3Store, tmp_path: Path
):
    records, release = Records(store), Release.of(SPEC, "1" * 40)
    records.open(SPEC, release, "opened")
    records.set_live(release)
    port = free_port()
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GENAI_PROFILE": "kubernetes", **s3_server.env}
    command = [sys.executable, "-m", "genai_pipeline.cli", "exporter", "--port", str(port)]
    exporter = subprocess.Popen(
        command, env=env | {"GENAI_BUCKET": store.bucket}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    found = scraped_once_it_says(release.id, port, exporter)
    exporter.send_signal(signal.SIGTERM)
    said, _ = exporter.communicate(timeout=DEADLINE_S)

    assert f'genai_live_release_info{{engine="vllm",model="tiny",release="{release.id}"' in found
    assert exporter.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said


def scraped_once_it_says(words: str, port: int, process: subprocess.Popen[str]) -> str:
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            if words in (text := response.read().decode()):
                return text
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"The exporter never said {words}: {process.communicate()[0]}")
