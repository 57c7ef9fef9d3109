"""The cluster itself: what it has, and that it leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from tests.cluster.machine import node


def machine(*words: str, clusters: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.cluster.machine", *words]
    return subprocess.run(
        command, env=os.environ | {"GENAI_CLUSTERS": str(clusters)}, capture_output=True, text=True, timeout=200
    )


def traces(clusters: Path) -> dict[str, object]:
    """What a cluster below this folder could leave on the machine."""
    mounts = Path("/proc/self/mounts").read_text()
    return {
        "processes": [
            p.pid for p in psutil.process_iter(["cmdline"]) if str(clusters) in " ".join(p.info["cmdline"] or ())
        ],
        "mounts": [line for line in mounts.splitlines() if str(clusters) in line],
        "cgroups": [str(c) for c in Path("/sys/fs/cgroup").glob("*/genai-spare*")],
        "namespaces": sorted(Path("/run/netns").iterdir()) if Path("/run/netns").exists() else [],
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "folders": sorted(clusters.iterdir()) if clusters.exists() else [],
    }


@pytest.fixture
def clusters() -> Iterator[Path]:
    """A folder for clusters of the test's own; short, since sockets' names are."""
    with TemporaryDirectory(prefix="genai") as folder:
        yield Path(folder) / "clusters"


@pytest.mark.parametrize("form", ["simulated", "real"])
def test_a_cluster_that_was_taken_down_leaves_nothing_behind(form: str, clusters: Path) -> None:
    if form == "real" and not node.can_run():
        pytest.skip("a real node needs root and its packages")
    before = traces(clusters)
    up = machine("up", "--form", form, "--name", "spare", clusters=clusters)
    running = traces(clusters)
    down = machine("down", "--form", form, "--name", "spare", clusters=clusters)

    assert up.returncode == 0, up.stderr
    assert down.returncode == 0, down.stderr
    assert running["processes"], "the search for traces must find a cluster that runs"
    assert traces(clusters) == before
