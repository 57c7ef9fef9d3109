"""A staging needs as much memory for a large file as for a small one, and no disk."""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.gateways.hub.huggingface import HuggingFaceHub
from genai_pipeline.local.hub.hub_digests import files_under
from genai_pipeline.staging.transfer import PARTS_IN_WINDOW
from tests.fakes.model_repository import model_files, write_repository
from tests.faults.staging.child import context
from tests.faults.staging.conftest import serving
from tests.faults.staging.world import PART, REPOSITORY, TOKEN, Addresses

SMALL, LARGE = 20 * PART, 40 * PART
MOST_GROWTH_KIB = 8 * 1024
"""Of a file of 100 MiB more; measured: 1 to 2 MiB."""
MOST_BESIDE_WINDOW_KIB = 32 * 1024
"""Connections, threads, clients: measured 22 MiB. Reads of 1 MiB, which fragment the arenas of the threads, took 60."""
DEADLINE_S = 240
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@pytest.fixture(scope="module")
def addresses(s3_server, tmp_path_factory):
    """Of a model whose one file is larger than any window, and of one whose file is much larger."""
    home = tmp_path_factory.mktemp("large")
    revisions = {
        tag: model_files({"model.safetensors": size}, seed=4) for tag, size in (("small", SMALL), ("large", LARGE))
    }
    write_repository(home / "hub", REPOSITORY, revisions, gated=True)
    for tag in revisions:
        files_under(home / "hub" / REPOSITORY / tag)  # the hub knows their digests before it is asked with a deadline
    with serving(home) as hub:
        resolved = HuggingFaceHub(hub.url, TOKEN)
        keys = s3_server.endpoint, f"large-{uuid.uuid4().hex[:12]}", s3_server.access_key, s3_server.secret_key
        yield {tag: Addresses(hub.url, *keys, resolved.resolve(REPOSITORY, tag)) for tag in revisions}


def _stage_and_report(addresses: Addresses, temporary: Path, report: Path) -> None:
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    written: set[str] = set()

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[2], int) and args[2] & WRITES:
            written.add(str(args[0]))

    sys.addaudithook(watch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    addresses.stage()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = sorted(path for path in written if path != os.devnull and "__pycache__" not in path)
    report.write_text(json.dumps({"before_kib": before, "peak_kib": peak, "written": found}))


def staged(addresses: Addresses, temporary: Path, report: Path) -> dict[str, Any]:
    process = context().Process(target=_stage_and_report, args=(addresses, temporary, report))
    process.start()
    process.join(DEADLINE_S)
    process.kill()
    return json.loads(report.read_text())


@pytest.mark.long
def test_a_file_much_larger_than_the_window_takes_no_more_memory_and_no_disk(addresses, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    small, large = (staged(addresses[tag], temporary, tmp_path / tag) for tag in ("small", "large"))

    assert large["peak_kib"] - small["peak_kib"] <= MOST_GROWTH_KIB
    window_kib = PARTS_IN_WINDOW * PART // 1024
    assert large["peak_kib"] - large["before_kib"] <= window_kib + MOST_BESIDE_WINDOW_KIB
    assert small["written"] == large["written"] == []
    assert list(temporary.iterdir()) == []
