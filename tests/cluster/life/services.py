"""What a pipeline needs beside a cluster, as commands: S3, hub, weather, Dagster's processes; and its settings.

Pods reach S3 under a name of their own, as they do behind a VPC: a Service without a selector that leads to it.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from genai_pipeline.local.s3_server import s3_command
from tests.cluster.identities import kubectl
from tests.cluster.life.image_cache import PROJECT
from tests.cluster.life.images import REGISTRY
from tests.cluster.machine.node import NODE_ADDRESS

HUB_FOLDER = PROJECT / "demo" / "hub"
REPOSITORY = "genai-demo/weather-agent"
BUCKET = "genai"


@dataclass(frozen=True)
class Ports:
    """Where the services listen on the node, so that pods reach them."""

    s3: int
    hub: int
    weather: int

    @classmethod
    def free(cls, host: str = NODE_ADDRESS) -> Ports:
        """Free ones, since the cluster may be shared."""
        with ExitStack() as held:
            sockets = [held.enter_context(socket.create_server((host, 0))) for _ in range(3)]
            return cls(*(one.getsockname()[1] for one in sockets))


@dataclass(frozen=True)
class Service:
    """A command that listens at a port, and the path at which it says that it does."""

    name: str
    command: Sequence[str]
    port: int
    path: str
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


def services(folder: Path, ports: Ports, keys: tuple[str, str], host: str = NODE_ADDRESS) -> list[Service]:
    """S3, hub and weather. Args: keys: the only ones that S3 accepts."""
    s3 = s3_command(folder, ports.s3, *keys, bucket=BUCKET, host=host)
    python, at = [sys.executable, "-m"], ["--host", host, "--port"]
    hub = ["genai_pipeline.local.hub.hub_server", "--folder", str(HUB_FOLDER), "--state", str(folder / "hub")]
    return [
        Service("s3", s3.argv, ports.s3, "/healthz", s3.env),
        Service("hub", [*python, *hub, *at, str(ports.hub)], ports.hub, "/"),
        Service(
            "weather",
            [*python, "genai_pipeline.local.weather_server", *at, str(ports.weather)],
            ports.weather,
            "/healthz",
        ),
    ]


def code_server(socket_file: Path) -> list[str]:
    serve = [sys.executable, "-m", "dagster", "code-server", "start", "-s", str(socket_file)]
    return [*serve, "-m", "genai_pipeline.definitions", "-d", str(PROJECT), "--location-name", "genai_pipeline"]


def daemon(home: Path) -> list[str]:
    return [sys.executable, "-m", "dagster._daemon", "run", "-w", str(home / "workspace.yaml")]


def webserver(home: Path, host: str, port: int) -> list[str]:
    at = ["-h", host, "-p", str(port), "-w", str(home / "workspace.yaml")]
    return [sys.executable, "-m", "dagster_webserver", *at]


def settings(
    folder: Path, namespace: str, ports: Ports, keys: tuple[str, str], host: str = NODE_ADDRESS
) -> dict[str, str]:
    """What docs/kubernetes.md has an operator set."""
    return {
        "GENAI_PROFILE": "kubernetes",
        "GENAI_HOME": str(folder / "home"),
        "GENAI_NAMESPACE": namespace,
        "GENAI_BUCKET": BUCKET,
        "GENAI_MODELS": str(folder / "models"),
        "GENAI_IMAGE_REGISTRY": REGISTRY,
        "GENAI_CLUSTER_ACCESS": "direct",
        "GENAI_AGENT_REPLICAS": "1",  # two cores have to do for two engines as well
        "GENAI_PODS_S3_ENDPOINT": f"http://s3.{namespace}.svc:{ports.s3}",
        "AWS_ENDPOINT_URL": f"http://{host}:{ports.s3}",
        "AWS_ACCESS_KEY_ID": keys[0],
        "AWS_SECRET_ACCESS_KEY": keys[1],
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HF_ENDPOINT": f"http://{host}:{ports.hub}",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WEATHER_URL": f"http://{host}:{ports.weather}",
        "DAGSTER_HOME": str(folder / "dagster"),
    }


def of_this_shell() -> dict[str, str]:
    """What commands take over from the shell, and nothing that could reach around the settings."""
    return {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR", "LANG") if k in os.environ}


def apply_role(admin: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """The administrator's part, word for word: the Role that we ship."""
    render = [sys.executable, "-m", "genai_pipeline.cli", "render", "--rbac", "--out", str(folder / "rbac")]
    subprocess.run(render, env=dict(environment), check=True, capture_output=True, timeout=60)
    kubectl(admin, "apply", "--server-side", "--field-manager=genai-pipeline", "-k", str(folder / "rbac"))


def write_model(folder: Path, model: dict[str, Any]) -> None:
    """Write the model file where GENAI_MODELS is."""
    (folder / "models").mkdir(exist_ok=True)
    (folder / "models" / f"{model['name']}.yaml").write_text(yaml.safe_dump(model))


def s3_in_the_cluster(namespace: str, port_number: int) -> list[dict[str, Any]]:
    """The Service by whose name pods reach the S3 beside the node."""
    port = {"name": "s3", "port": port_number, "protocol": "TCP"}
    labels = {"kubernetes.io/service-name": "s3"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3", "namespace": namespace},
            "spec": {"ports": [port]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "s3-outside", "namespace": namespace, "labels": labels},
            "addressType": "IPv4",
            "ports": [port],
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        },
    ]


def answers(url: str) -> bool:
    """Does a service answer there, with anything but a fault of its own?"""
    at = urlsplit(url)
    connection = http.client.HTTPConnection(at.netloc, timeout=2)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", at.path)
        return connection.getresponse().status < 500
    return False


def connects(path: Path) -> bool:
    """Does a process accept connections at this socket?"""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.settimeout(2)
        probe.connect(str(path))
        return True
    return False
