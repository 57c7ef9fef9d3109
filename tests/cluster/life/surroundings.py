"""An installation as an operator has it: S3, hub and weather beside the cluster, Dagster with its own account.

Pods reach S3 under a name of their own, as they do behind a VPC: a Service without a selector that leads to it.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_pipeline.core.profile import Profile
from genai_pipeline.local.dagster_home import prepare_dagster_home
from genai_pipeline.local.hub import hub_refs
from genai_pipeline.local.s3_server import s3_command
from genai_pipeline.resources.engines import Engines
from genai_pipeline.resources.real_gateways import gateways_for
from tests.cluster.identities import kubeconfig_of, kubectl
from tests.cluster.life.image_cache import PROJECT
from tests.cluster.life.images import REGISTRY, own_images
from tests.cluster.life.processes import Processes
from tests.cluster.machine.cluster import RunningCluster
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.node import NODE_ADDRESS
from tests.cluster.machine.objects import apply

HUB_FOLDER = PROJECT / "demo" / "hub"
REPOSITORY = "genai-demo/weather-agent"
KEY, SECRET = "life-of-a-model", "0123456789abcdef0123456789abcdef"


@dataclass(frozen=True)
class Ports:
    """Where the services listen on the node, so that pods reach them; free ones, since the cluster may be shared."""

    s3: int
    hub: int
    weather: int

    @classmethod
    def free(cls) -> Ports:
        with ExitStack() as held:
            sockets = [held.enter_context(socket.create_server((NODE_ADDRESS, 0))) for _ in range(3)]
            return cls(*(one.getsockname()[1] for one in sockets))


@dataclass(frozen=True)
class Installation:
    """One namespace of the cluster and what serves it. `environment` is that of every command."""

    cluster: RunningCluster
    namespace: str
    folder: Path
    environment: dict[str, str]
    processes: Processes

    @property
    def engines(self) -> Engines:
        """The same gateways as the pipeline's, with the pipeline's own account."""
        profile = Profile.load(self.environment)
        return Engines(profile, gateways_for(profile))

    @property
    def dagster_home(self) -> Path:
        return self.folder / "dagster"

    def genai(self, *words: str, deadline_s: float = 60) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "genai_pipeline.cli", *words]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=deadline_s, check=False
        )

    def publish(self, revision: str) -> None:
        """What the owner of the model does on the hub."""
        hub_refs.publish(HUB_FOLDER, self.folder / "hub", REPOSITORY, revision, "main")


@contextmanager
def installed(cluster: RunningCluster, folder: Path, namespace: str, model: dict[str, Any]) -> Iterator[Installation]:
    """Everything before the first rollout; all of it ends with the block."""
    for archive in own_images():
        cluster.import_image(archive)
    create_namespace(cluster.kubeconfig, namespace)
    ports = Ports.free()
    apply(cluster.kubeconfig, _s3_in_the_cluster(namespace, ports.s3))
    (folder / "models").mkdir()
    write_model(folder, model)
    environment = _environment(folder, namespace, ports)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        environment["KUBECONFIG"] = str(_pipelines_kubeconfig(cluster, namespace, folder, environment))
        patch.setenv("KUBECONFIG", environment["KUBECONFIG"])
        processes = Processes(folder, environment)
        try:
            _start_services(processes, folder, ports)
            yield Installation(cluster, namespace, folder, environment, processes)
        finally:
            processes.end()
            delete_namespace(cluster.kubeconfig, namespace)
            kubectl(cluster.kubeconfig, "delete", "clusterrole,clusterrolebinding", f"genai-pipeline-{namespace}")


def write_model(folder: Path, model: dict[str, Any]) -> None:
    (folder / "models" / f"{model['name']}.yaml").write_text(yaml.safe_dump(model))


def change_model(installation: Installation, model: dict[str, Any]) -> None:
    """What the owner of the model file does: change it, and let Dagster load it."""
    installation.processes.end("code", "daemon")
    write_model(installation.folder, model)
    start_dagster(installation)


def start_dagster(installation: Installation) -> None:
    """The code server, then the daemon whose sensor starts the runs."""
    home, code = installation.dagster_home, installation.folder / "code.sock"
    prepare_dagster_home(home, code, max_rollouts=2)
    python = [sys.executable, "-m"]
    serve = [*python, "dagster", "code-server", "start", "-s", str(code), "-m", "genai_pipeline.definitions"]
    serve += ["-d", str(PROJECT), "--location-name", "genai_pipeline"]
    installation.processes.start("code", serve, lambda: _connects(code))
    daemon = [*python, "dagster._daemon", "run", "-w", str(home / "workspace.yaml")]
    installation.processes.start("daemon", daemon, lambda: True)


def _environment(folder: Path, namespace: str, ports: Ports) -> dict[str, str]:
    """What docs/kubernetes.md has an operator set, and nothing of the shell's that could reach around it."""
    passed_on = {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR", "LANG") if k in os.environ}
    return passed_on | {
        "GENAI_PROFILE": "kubernetes",
        "GENAI_HOME": str(folder / "home"),
        "GENAI_NAMESPACE": namespace,
        "GENAI_BUCKET": "genai",
        "GENAI_MODELS": str(folder / "models"),
        "GENAI_IMAGE_REGISTRY": REGISTRY,
        "GENAI_CLUSTER_ACCESS": "direct",
        "GENAI_AGENT_REPLICAS": "1",  # two cores have to do for two engines as well
        "GENAI_PODS_S3_ENDPOINT": f"http://s3.{namespace}.svc:{ports.s3}",
        "AWS_ENDPOINT_URL": f"http://{NODE_ADDRESS}:{ports.s3}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HF_ENDPOINT": f"http://{NODE_ADDRESS}:{ports.hub}",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WEATHER_URL": f"http://{NODE_ADDRESS}:{ports.weather}",
        "DAGSTER_HOME": str(folder / "dagster"),
    }


def _pipelines_kubeconfig(cluster: RunningCluster, namespace: str, folder: Path, environment: dict[str, str]) -> Path:
    """The administrator's part, word for word: the Role that we ship, and a token of its account."""
    render = [sys.executable, "-m", "genai_pipeline.cli", "render", "--rbac", "--out", str(folder / "rbac")]
    subprocess.run(render, env=environment, check=True, capture_output=True, timeout=60)
    kubectl(cluster.kubeconfig, "apply", "--server-side", "--field-manager=genai-pipeline", "-k", str(folder / "rbac"))
    return kubeconfig_of(cluster.kubeconfig, namespace, "genai-pipeline", folder)


def _start_services(processes: Processes, folder: Path, ports: Ports) -> None:
    s3 = s3_command(folder, ports.s3, KEY, SECRET, host=NODE_ADDRESS)
    processes.start("s3", s3.argv, lambda: _answers(NODE_ADDRESS, ports.s3, "/healthz"), s3.env)
    local = [sys.executable, "-m"]
    hub = ["genai_pipeline.local.hub.hub_server", "--folder", str(HUB_FOLDER), "--state", str(folder / "hub")]
    hub += ["--host", NODE_ADDRESS, "--port", str(ports.hub)]
    processes.start("hub", [*local, *hub], lambda: _answers(NODE_ADDRESS, ports.hub, "/"))
    weather = ["genai_pipeline.local.weather_server", "--host", NODE_ADDRESS, "--port", str(ports.weather)]
    processes.start("weather", [*local, *weather], lambda: _answers(NODE_ADDRESS, ports.weather, "/healthz"))


def _s3_in_the_cluster(namespace: str, port_number: int) -> list[dict[str, Any]]:
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


def _answers(host: str, port: int, path: str) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", path)
        return connection.getresponse().status < 500
    return False


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.settimeout(2)
        probe.connect(str(path))
        return True
    return False
