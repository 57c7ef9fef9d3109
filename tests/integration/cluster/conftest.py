"""A cluster to test against, parametrised: the conformance suite knows only the `World`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from genai_pipeline.core.errors import ClusterUnavailable, NotFound
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.cluster.local.client import LocalCluster
from genai_pipeline.gateways.cluster.local.supervisor import Supervisor

ECHO_SERVER = Path(__file__).parents[2] / "fakes" / "echo_server.py"
IMAGE = "test/echo:1"
HEALTHY = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}


def until(condition: Callable[[], Any], deadline_s: float = 15) -> Any:
    """The condition's first true value; a red test at the deadline."""
    end, pause = time.monotonic() + deadline_s, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {deadline_s} s: {condition.__doc__ or condition}"
        pause.wait(0.03)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class World:
    """One empty namespace of a cluster in which the image `test/echo` is tests/fakes/echo_server.py."""

    cluster: Cluster
    other_manager: Cluster
    http: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=10))

    def deployment(self, name: str = "m", says: str = "one", replicas: int = 1, **container: Any) -> dict[str, Any]:
        """A Deployment whose pods answer `says`; `container` overrides fields of its one container."""
        labels = {"app": name, "says": says}
        base = {
            "name": "main",
            "image": IMAGE,
            "args": ["$(POD_IP)", "8000", "--name", says],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "ports": [{"name": "http", "containerPort": 8000}],
            "readinessProbe": HEALTHY | {"failureThreshold": 1},
        }
        pod = {"terminationGracePeriodSeconds": 5, "containers": [base | container]}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        }

    def service(self, name: str = "m", **selector: str) -> dict[str, Any]:
        spec = {"selector": selector or {"app": name}, "ports": [{"port": 8000, "targetPort": "http"}]}
        return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}

    def up(self, *objects: dict[str, Any]) -> None:
        self.cluster.apply(objects)
        for obj in objects:
            if obj["kind"] == "Deployment":
                self.cluster.wait_ready(obj["metadata"]["name"], 30)

    def ask(self, path: str = "/", service: str = "m") -> str:
        """One request over a new connection."""
        headers = {"Connection": "close"}
        return self.http.get(self.cluster.endpoint(service) + path, headers=headers).raise_for_status().text

    def post(self, path: str, service: str = "m") -> None:
        """A request that may be the pod's last."""
        with suppress(httpx.HTTPError):
            self.http.post(self.cluster.endpoint(service) + path, headers={"Connection": "close"})

    def pods(self, name: str = "m") -> list[dict[str, Any]]:
        return self.cluster.list("Pod", {"app": name})

    def container(self, name: str = "m") -> dict[str, Any]:
        """The status of the only container of the only pod."""
        (pod,) = self.pods(name)
        return pod.get("status", {}).get("containerStatuses", [{"state": {}, "restartCount": 0}])[0]


@dataclass
class Daemon:
    """The local cluster's daemon with a home of its own."""

    home: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def spawn(self, **kwargs: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "genai_pipeline.gateways.cluster.local"]
        env = os.environ | {"GENAI_LOCAL_IMAGES": json.dumps({"test/echo": ["python", "-I", "-S", str(ECHO_SERVER)]})}
        options = ["--home", str(self.home), "--port", str(self.port), "--backoff", "0.1"]
        return subprocess.Popen([*command, *options], env=env, **kwargs)

    def start(self) -> Daemon:
        with (self.home / "daemon.log").open("ab") as log:
            self.process = self.spawn(stdout=log, stderr=log)
        until(self.answers)
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

    def world(self) -> World:
        namespace = f"test-{uuid.uuid4().hex[:8]}"
        return World(LocalCluster(self.url, namespace), LocalCluster(self.url, namespace, "somebody-else"))


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


@pytest.fixture(params=["local"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    """Add a parameter here, with a World for it, and the suite runs against that cluster too."""
    daemon: Daemon = request.getfixturevalue("shared_daemon")
    world = daemon.world()
    yield world
    for deployment in world.cluster.list("Deployment"):
        world.cluster.delete("Deployment", deployment["metadata"]["name"])
    for service in world.cluster.list("Service"):
        world.cluster.delete("Service", service["metadata"]["name"])
    world.http.close()


@pytest.fixture
def refused(world: World) -> Callable[[], bool]:
    """Whether the Service refuses connections."""

    def check() -> bool:
        try:
            world.ask()
        except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError):
            return True
        except NotFound:
            return False
        return False

    return check
