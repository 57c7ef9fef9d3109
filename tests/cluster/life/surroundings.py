"""An installation as an operator has it: S3, hub and weather beside the cluster, Dagster with its own account."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.core.profile import Profile
from genai_pipeline.local.dagster_home import prepare_dagster_home
from genai_pipeline.local.hub import hub_refs
from genai_pipeline.resources.engines import Engines
from genai_pipeline.resources.real_gateways import gateways_for
from tests.cluster.identities import kubeconfig_of, kubectl
from tests.cluster.life.images import own_images
from tests.cluster.life.processes import Processes
from tests.cluster.life.services import (
    HUB_FOLDER,
    REPOSITORY,
    Ports,
    answers,
    apply_role,
    code_server,
    connects,
    daemon,
    of_this_shell,
    s3_in_the_cluster,
    services,
    settings,
    write_model,
)
from tests.cluster.machine.cluster import RunningCluster
from tests.cluster.machine.namespaces import create_namespace, delete_namespace
from tests.cluster.machine.node import NODE_ADDRESS
from tests.cluster.machine.objects import apply

SECRET = "0123456789abcdef0123456789abcdef"
KEYS = ("life-of-a-model", SECRET)


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
def installed(
    cluster: RunningCluster, folders: pytest.TempPathFactory, name: str, model: dict[str, Any]
) -> Iterator[Installation]:
    """Everything before the first rollout; all of it ends with the block. Skips where no pod can have our images.

    Args:
        name: how the names of the namespace and of the folder begin.
    """
    if "pods" not in cluster.has:
        pytest.skip("this cluster has no pods of our own images")
    folder, namespace = folders.mktemp(name), f"{name}-{uuid.uuid4().hex[:8]}"
    for archive in own_images():
        cluster.import_image(archive)
    create_namespace(cluster.kubeconfig, namespace)
    ports = Ports.free()
    apply(cluster.kubeconfig, s3_in_the_cluster(namespace, ports.s3))
    write_model(folder, model)
    environment = of_this_shell() | settings(folder, namespace, ports, KEYS)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        apply_role(cluster.kubeconfig, folder, environment)
        environment["KUBECONFIG"] = str(kubeconfig_of(cluster.kubeconfig, namespace, "genai-pipeline", folder))
        patch.setenv("KUBECONFIG", environment["KUBECONFIG"])
        processes = Processes(folder, environment)
        try:
            _start_services(processes, folder, ports)
            yield Installation(cluster, namespace, folder, environment, processes)
        finally:
            processes.end()
            delete_namespace(cluster.kubeconfig, namespace)
            kubectl(cluster.kubeconfig, "delete", "clusterrole,clusterrolebinding", f"genai-pipeline-{namespace}")


def change_model(installation: Installation, model: dict[str, Any]) -> None:
    """What the owner of the model file does: change it, and let Dagster load it."""
    installation.processes.end("code", "daemon")
    write_model(installation.folder, model)
    start_dagster(installation)


def start_dagster(installation: Installation) -> None:
    """The code server, then the daemon whose sensor starts the runs."""
    home, code = installation.dagster_home, installation.folder / "code.sock"
    prepare_dagster_home(home, code, max_rollouts=2)
    installation.processes.start("code", code_server(code), lambda: connects(code))
    installation.processes.start("daemon", daemon(home), lambda: True)


def _start_services(processes: Processes, folder: Path, ports: Ports) -> None:
    for one in services(folder, ports, KEYS):
        ready = partial(answers, f"http://{NODE_ADDRESS}:{one.port}{one.path}")
        processes.start(one.name, one.command, ready, one.environment)
