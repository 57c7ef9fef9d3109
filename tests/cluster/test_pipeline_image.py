"""`make pipeline-image` without a registry: `genai`, Dagster and the definitions of the models run in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from genai_pipeline.k8s.render import package_version
from tests.cluster.life.images import NEEDED, can_build

PROJECT = Path(__file__).parents[2]
TAG = "localhost/genai-pipeline/pipeline:test"
REVISION = "a" * 40

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(not can_build(), reason=f"needs root, {', '.join(NEEDED)}"),
]

Run = Callable[..., str]
KEYS = """\
from genai_pipeline.definitions import defs
print(*(spec.key.to_user_string() for spec in defs().resolve_all_asset_specs()))
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "images/build.py", "pipeline", "--tag", TAG, "--out", str(folder)]
    subprocess.run(build, cwd=PROJECT, check=True, timeout=1200)
    return folder


@pytest.fixture(scope="module")
def run(dist: Path) -> Iterator[Run]:
    """Runs a command in the image, as its own user; returns what it prints."""
    container = _printed("buildah", "from", "--pull-never", TAG)

    def run(*words: str) -> str:
        return _printed("buildah", "run", "--isolation", "chroot", container, "--", *words)

    yield run
    _printed("buildah", "rm", container)


def _printed(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=300).stdout.strip()


def test_a_code_server_loads_the_definitions(run: Run):
    validate = "dagster definitions validate -m genai_pipeline.definitions"

    run("python3", "-c", f"import os; os.chdir('/tmp'); os.execvp('dagster', {validate.split()})")


def test_the_command_of_the_exporter_is_on_its_path_and_it_is_nobody(run: Run):
    assert "--port" in run("genai", "exporter", "--help")
    assert run("python3", "-c", "import os; print(os.geteuid())") == "2000"


def test_it_has_the_commands_and_the_libraries_that_dagster_needs_on_a_cluster(run: Run):
    for command in ("dagster", "dagster-webserver", "dagster-daemon"):
        assert run(command, "--version")
    run("python3", "-c", "import dagster_aws, dagster_k8s, dagster_postgres")


def test_its_definitions_are_those_of_the_models_in_it(run: Run):
    keys = run("python3", "-c", KEYS).split()

    assert {"weather/live", "weather/candidate", "platform/chat_ui"} <= set(keys)
    assert f"weather@{REVISION[:12]}" in run("genai", "render", "weather", "--revision", REVISION)


def test_its_sbom_names_its_packages_and_those_of_debian(dist: Path):
    (file,) = dist.glob("*.cdx.json")
    sbom = json.loads(file.read_text())
    names = {component["name"] for component in sbom["components"]}

    assert sbom["metadata"]["component"]["version"] == package_version()
    assert {"dagster", "kubernetes", "libc6"} <= names
