"""`make agent-image` without a registry: built on Debian's packages, run by runc as nobody on a read-only root."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cluster.life.images import NEEDED, agent_image, can_build
from tests.cluster.machine.cluster import until
from tests.fakes.scripted_model import ScriptedModel, tells_the_time

pytestmark = [
    pytest.mark.timeout(1500),  # builds the image, unless `make cluster-build` has
    pytest.mark.skipif(not can_build(), reason=f"needs root, {', '.join(NEEDED)}"),
]
START_CPU_S = 2.0
"""Processor time until the first answer: what a busy machine does not change."""


@dataclass(frozen=True)
class Built:
    root: Path
    config: dict[str, Any]
    sbom: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Its layers unpacked one over the other, as a container runtime does."""
    folder, root = agent_image(), tmp_path_factory.mktemp("root")
    root.chmod(0o755)
    (archive,), (sbom,) = folder.glob("*.tar"), folder.glob("*.cdx.json")
    with tarfile.open(archive) as tar:
        (manifest,) = json.loads(_read(tar, "manifest.json"))
        for layer in manifest["Layers"]:
            subprocess.run(["tar", "-x", "-C", str(root)], input=_read(tar, layer), check=True)
        return Built(root, json.loads(_read(tar, manifest["Config"]))["config"], sbom)


def _read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    assert member, f"the archive has no {name}"
    return member.read()


@dataclass(frozen=True)
class Running:
    url: str
    pid: int
    cpu_s: float


@pytest.fixture(scope="module")
def running(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    bundle = tmp_path_factory.mktemp("bundle")
    name = f"genai-agent-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ScriptedModel(tells_the_time) as model:
        settings = {"AGENT_HOST": "127.0.0.1", "AGENT_PORT": port, "MODEL_BASE_URL": model.url, "MODEL_ID": model.name}
        (bundle / "config.json").write_text(json.dumps(_runtime_config(bundle, built, settings)))
        with (bundle / "log").open("wb") as log:
            process = subprocess.Popen(["runc", "run", "--bundle", str(bundle), name], stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            until(lambda: process.poll() is not None or _answers(url), "the agent", 120)
            assert process.poll() is None, (bundle / "log").read_text()
            (pid,) = json.loads(subprocess.run(["runc", "ps", "-f", "json", name], capture_output=True).stdout)
            yield Running(url, pid, _cpu_s(pid))
        finally:
            subprocess.run(["runc", "kill", name, "KILL"], check=False, capture_output=True)
            process.wait(30)


def _runtime_config(bundle: Path, built: Built, settings: dict[str, Any]) -> dict[str, Any]:
    """As a kubelet would have it under restricted Pod Security, but for the network, which is this process's own."""
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    config = json.loads((bundle / "config.json").read_text())
    user, group = map(int, built.config["User"].split(":"))
    config["root"] = {"path": str(built.root), "readonly": True}
    config["process"] |= {
        "terminal": False,
        "user": {"uid": user, "gid": group},
        "cwd": built.config["WorkingDir"],
        "args": built.config["Entrypoint"],
        "env": [*built.config["Env"], *(f"{name}={value}" for name, value in settings.items())],
        "capabilities": {},
        "noNewPrivileges": True,
    }
    config["linux"]["namespaces"] = [n for n in config["linux"]["namespaces"] if n["type"] != "network"]
    tmp = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}
    config["mounts"].append(tmp)
    return config


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def _cpu_s(pid: int) -> float:
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def test_it_answers_a_question_on_a_root_that_cannot_be_written(running):
    answer = httpx.post(
        f"{running.url}/agent", json={"prompt": "What time is it in Tokyo?"}, timeout=60, trust_env=False
    )

    assert answer.status_code == 200, answer.text
    assert [(t["name"], t["status"]) for t in answer.json()["tools"]] == [("get_current_time", "success")]


def test_it_starts_with_little_work(running):
    assert running.cpu_s <= START_CPU_S


def test_it_is_nobody_without_capabilities(running):
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{running.pid}/status").read_text().splitlines())

    assert status["Uid"].split() == ["2000"] * 4
    assert int(status["CapEff"], 16) == 0


def test_it_says_what_it_is(built):
    labels = built.config["Labels"]

    assert labels["org.opencontainers.image.title"] == "strands-agent"
    assert {"version", "revision", "licenses", "base.name"} <= {n.rpartition("image.")[2] for n in labels}
    assert built.config["User"] == "2000:2000"


def test_its_sbom_lies_in_it_and_beside_it_and_names_what_it_holds(built):
    text = built.sbom.read_text()
    purls = [component["purl"] for component in json.loads(text)["components"]]

    assert (built.root / "opt/agent/sbom.cdx.json").read_text() == text
    for wanted in ("pkg:pypi/strands-agents@", "pkg:pypi/boto3@", "pkg:deb/debian/libc6@", "pkg:deb/debian/python3"):
        assert [purl for purl in purls if purl.startswith(wanted)], wanted


def test_it_holds_no_shell_no_packages_manager_no_secret_and_nothing_of_the_pipeline(built):
    programs = {f.name for folder in ("usr/bin", "usr/sbin") for f in (built.root / folder).iterdir()}

    assert not programs & {"sh", "bash", "dash", "dpkg", "apt", "apt-get", "pip", "pip3"}
    assert sorted(f.name for f in (built.root / "opt/agent/genai_pipeline").iterdir() if f.suffix != ".pyc") == [
        "__init__.py",
        "__pycache__",
        "agent",
    ]
    assert not (built.root / "etc/pip.conf").exists() or not (built.root / "etc/pip.conf").read_text()
