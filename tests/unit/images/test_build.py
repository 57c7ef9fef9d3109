"""What the build of the agent's image does beside buildah: settings of pip, the SBOM, what is cut out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from images.build import IMAGES, PROJECT, paths_of, pip_conf
from images.build_steps import sbom

STANZA = """\
Package: {name}
Status: install ok {state}
Architecture: amd64
Version: 1:2.36-9+deb12u1
Description: x
 more
"""


def test_pips_own_variables_are_handed_on_as_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path} https://other.example")

    settings = pip_conf(tmp_path)

    assert "index-url = https://index.example/simple" in settings.read_text()
    assert str(tmp_path) in paths_of(settings)
    assert not [path for path in paths_of(settings) if not Path(path).exists()]


@pytest.mark.parametrize("place", ["status", "status.d/libc6"])
def test_debian_packages_are_named_wherever_an_image_lists_them(tmp_path, place):
    file = tmp_path / "var/lib/dpkg" / place
    file.parent.mkdir(parents=True)
    text = STANZA.format(name="libc6", state="installed")
    if place == "status":
        text += "\n" + STANZA.format(name="gone", state="config-files")
    file.write_text(text)

    (found,) = sbom.debian_packages(tmp_path)

    assert found["purl"] == "pkg:deb/debian/libc6@1%3A2.36-9%2Bdeb12u1?arch=amd64"
    assert found["version"] == "1:2.36-9+deb12u1"


def test_an_image_without_debian_has_none(tmp_path):
    assert list(sbom.debian_packages(tmp_path)) == []


def test_services_that_an_agent_never_asks_are_cut_out_and_no_other_file(tmp_path):
    data = tmp_path / "packages" / "botocore" / "data"
    for service in ("s3", "bedrock-runtime", "sts", "ec2", "iam"):
        (data / service).mkdir(parents=True)
    (data / "endpoints.json").write_text("{}")
    for folder in ("strands/tests", "tests"):
        (tmp_path / "packages" / folder).mkdir(parents=True)

    command = [sys.executable, str(PROJECT / "images/build_steps/slim.py"), str(tmp_path / "packages"), "s3"]
    subprocess.run(command, check=True, timeout=60)

    assert {f.name for f in data.iterdir()} == {"s3", "sts", "endpoints.json"}
    left = {str(f.relative_to(tmp_path / "packages")) for f in (tmp_path / "packages").rglob("*") if f.is_dir()}
    assert not {"strands/tests"} & left


@pytest.mark.parametrize(
    ("groups", "has", "lacks"),
    [
        (["agent"], {"fastapi"}, ("dagster", "vllm", "pytest")),
        (["pipeline", "eks"], {"dagster", "dagster-k8s", "kubernetes"}, ("strands", "vllm", "pytest")),
    ],
)
def test_the_requirements_are_those_of_the_named_groups(groups, has, lacks):
    script = PROJECT / "images/build_steps/requirements.py"
    command = [sys.executable, str(script), str(PROJECT / "pyproject.toml"), *groups]

    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()

    assert has <= {re.split("[=<>]", line)[0] for line in lines}
    assert not [line for line in lines if line.startswith(lacks)]


@pytest.mark.parametrize("image", IMAGES)
def test_a_dockerfile_stands_on_what_the_documentation_says_and_ends_as_nobody(image):
    text = (PROJECT / IMAGES[image].file).read_text()

    assert "ARG BASE=docker.io/library/python:3.12-slim" in text
    assert "USER 2000:2000" in text
    for source in [word for line in text.splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]:
        assert source.startswith(("--from", "/opt")) or (PROJECT / source).exists(), source
