"""`make cluster-demo` as its reader runs it: what it prints works, and nothing of it is left in the end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.life.images import can_build
from tests.cluster.machine import node
from tests.cluster.test_machine import clusters, machine, traces

__all__ = ["clusters"]

NAME = "shown"


def demo(*words: str, clusters: Path, deadline_s: float = 600) -> str:
    """Run it from a shell that has none of our variables; returns what it prints."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("GENAI_", "AWS_", "KUBECONFIG"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.demo", *words, "--name", NAME],
        env=environment | {"GENAI_CLUSTERS": str(clusters)},
        capture_output=True, text=True, timeout=deadline_s, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def in_the_shell(printed: str, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a shell that has sourced the printed file."""
    (source,) = re.findall(r"^ *(source \S+)", printed, re.MULTILINE)
    script = f"set -e; {source}; {command}"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def nothing_is_left(clusters: Path) -> Iterator[None]:
    before = traces(clusters)
    try:
        yield
    finally:
        machine("down", "--name", NAME, clusters=clusters)
    assert traces(clusters) == before


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("nothing_is_left")
def test_on_simulated_nodes_doctor_finds_nothing_missing_and_the_manifests_are_taken(clusters: Path, tmp_path: Path):
    printed = demo("up", "--form", "simulated", clusters=clusters)
    apply = "kubectl apply --server-side --field-manager=genai-pipeline -k"

    looked = in_the_shell(printed, "genai doctor")
    applied = in_the_shell(printed, f"genai render --out {tmp_path / 'm'} >/dev/null && {apply} {tmp_path / 'm'}")

    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "deployment.apps/chat-ui serverside-applied" in applied.stdout


@pytest.mark.nightly
@pytest.mark.timeout(2400)
@pytest.mark.skipif(not (node.can_run() and can_build()), reason=f"needs a real node and buildah; {node.lacking()}")
@pytest.mark.usefixtures("nothing_is_left")
def test_on_a_real_node_it_ends_with_an_answer_and_the_next_revision_takes_over(clusters: Path):
    first = demo("up", "--form", "real", clusters=clusters, deadline_s=1500)
    (page,) = re.findall(r"^Dagster UI +(\S+)", first, re.MULTILINE)
    (endpoint,) = re.findall(r"^OpenAI API +(\S+)", first, re.MULTILINE)
    ours = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    assert "get_weather({'location': 'Paris'})" in first
    assert ours.open(f"{page}/server_info", timeout=30).status == 200
    before = ours.open(f"{endpoint}/models", timeout=30).read()

    demo("publish", "v2", clusters=clusters)
    again = demo("up", "--form", "real", clusters=clusters, deadline_s=1500)

    assert endpoint in again
    assert ours.open(f"{endpoint}/models", timeout=30).read() != before
