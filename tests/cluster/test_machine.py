"""The cluster itself: what it has, and that it leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from tests.cluster.machine import build, doors, node


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


def kept() -> dict[str, str]:
    """Program -> the file that it would be kept in."""
    one_by_one = ((one, package, flags) for one, packages, flags in build.PROGRAMS["simulated"] for package in packages)
    return {build.name_of(package): build.place_of(one, package, flags).name for one, package, flags in one_by_one}


def test_a_change_of_one_program_is_no_reason_to_build_another(tmp_path, monkeypatch):
    shutil.copytree(build.SOURCES, tmp_path / "go")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "go")
    before = kept()

    with (tmp_path / "go" / "karpenter" / "main.go").open("a") as source:
        source.write("// changed")

    assert {name for name, file in kept().items() if file != before[name]} == {"karpenter"}


def test_a_change_of_what_a_module_requires_builds_all_its_programs(tmp_path, monkeypatch):
    shutil.copytree(build.SOURCES, tmp_path / "go")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "go")
    before = kept()

    with (tmp_path / "go" / "go.sum").open("a") as sums:
        sums.write("changed")

    assert {name for name, file in kept().items() if file == before[name]} == {"kwok"}


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(bool(os.geteuid()), reason="to enter a network needs root")
def test_a_door_is_found_again_and_the_one_that_led_elsewhere_is_closed(tmp_path):
    try:
        first = doors.opened(tmp_path, os.getpid(), "page", "127.0.0.1", 1)
        again = doors.opened(tmp_path, os.getpid(), "page", "127.0.0.1", 1)
        other = doors.opened(tmp_path, os.getpid(), "page", "127.0.0.1", 2)

        assert again == first
        assert not is_open(first)
        assert is_open(other)
    finally:
        doors.close(tmp_path)
    assert not is_open(other)
