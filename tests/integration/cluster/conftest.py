"""The cluster of one machine to test against, and the World that the conformance suite sees of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.errors import ClusterUnavailable
from genai_pipeline.gateways.cluster.abc import FIELD_MANAGER, Cluster, Manifest
from genai_pipeline.gateways.cluster.local import LocalCluster
from genai_pipeline.local.ports import free_port
from genai_pipeline.local.supervision.supervisor import Supervisor
from tests.conformance.world import World, until

FAKES = Path(__file__).parents[2] / "fakes"
ECHO_SERVER, ENGINE = FAKES / "echo_server.py", FAKES / "openai_server.py"


def with_stand_in(folder: Path, command: str, script: Path) -> str:
    """An interpreter with all that this one has, but with the script as the command that lies beside it."""
    own = Path(sys.prefix)
    (folder / "bin").mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text((own / "pyvenv.cfg").read_text())
    (folder / "lib").symlink_to(own / "lib")
    python = folder / "bin" / "python"
    python.symlink_to(sys.executable)
    (folder / "bin" / command).write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {script} "$@"\n')
    (folder / "bin" / command).chmod(0o755)
    return str(python)


class LocalWorld(World):
    """One machine knows neither identities nor a `kubectl create`: an apply by somebody else comes closest."""

    def create_by_hand(self, manifest: Manifest) -> None:
        self.other_manager.apply([manifest])

    def with_identity(self, *rules: Mapping[str, Any]) -> Cluster:
        raise NotImplementedError

    def with_bad_credentials(self) -> Cluster:
        raise NotImplementedError


@dataclass
class Daemon:
    """The local cluster's daemon with a home of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    python: str = sys.executable

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def spawn(self, **kwargs: Any) -> subprocess.Popen[bytes]:
        command = [self.python, "-m", "genai_pipeline.local.cluster"]
        images = {"test/echo": ["python", "-I", "-S", str(ECHO_SERVER)], "test/engine": [sys.executable, str(ENGINE)]}
        env = os.environ | {"GENAI_LOCAL_IMAGES": json.dumps(images)}
        options = ["--home", str(self.home), "--port", str(self.port), "--backoff", "0.1"]
        return subprocess.Popen([*command, *options], env=env, **kwargs)

    def start(self) -> Daemon:
        with (self.home / "daemon.log").open("ab") as log:
            self.process = self.spawn(stdout=log, stderr=log)
        until(self.answers, 120)
        return self

    def answers(self) -> bool:
        try:
            return LocalCluster(self.url, "any").get("Service", "any") is None
        except ClusterUnavailable:
            return False

    def stop(self, kill: bool = False) -> None:
        assert self.process
        if kill:
            self.process.kill()
        else:
            self.process.terminate()
        self.process.wait(10)

    def world(self) -> LocalWorld:
        namespace = f"test-{uuid.uuid4().hex[:8]}"
        mine, other = (LocalCluster(self.url, namespace, manager) for manager in (FIELD_MANAGER, "somebody-else"))
        return LocalWorld(mine, other, python="python")


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("lc")).start()
    yield daemon
    daemon.stop()
    Supervisor(daemon.home).shutdown()


@pytest.fixture
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon of the test's own, to be killed at will."""
    daemon = Daemon(tmp_path_factory.mktemp("lc")).start()
    yield daemon
    daemon.stop()
    Supervisor(daemon.home).shutdown()


@pytest.fixture
def world(shared_daemon: Daemon) -> Iterator[LocalWorld]:
    world = shared_daemon.world()
    yield world
    for kind in ("ScaledObject", "Deployment", "RayService", "Service"):
        for found in world.cluster.list(kind):
            world.cluster.delete(kind, found["metadata"]["name"])
    world.http.close()


@pytest.fixture
def serving(world: LocalWorld) -> LocalWorld:
    world.up(world.deployment(), world.service())
    return world
