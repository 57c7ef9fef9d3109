"""Start, find and remove a cluster. Its whole state is one folder; what runs is found by process id and start time."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tests.cluster.machine import dns, doors, images, node, objects, programs
from tests.cluster.machine.build import Form, built, compile_packages
from tests.cluster.machine.control_plane import Addresses, control_plane, write_credentials, write_kubeconfig
from tests.cluster.machine.ray_operator import ray_definitions, ray_operator
from tests.cluster.machine.simulation import simulation, simulation_objects
from tests.cluster.machine.waiting import until

Say = Callable[[str], None]

ABILITIES: dict[Form, frozenset[str]] = {
    "simulated": frozenset({"karpenter", "kwok", "kuberay", "helm"}),
    "real": frozenset({"pods", "dns", "kuberay"}),
}
_STATE = "cluster.json"


class CannotStart(Exception):
    """The cluster did not come up; the message says what is missing and where its logs are."""


@dataclass(frozen=True)
class RunningCluster:
    """A cluster that answers. `pid` and `created` are those of its first process; `inside` lives in its network.

    Attributes:
        has: what tests may rely on: pods, dns, karpenter, kwok, kuberay, helm.
    """

    name: str
    form: Form
    folder: Path
    pid: int
    created: float
    inside: int

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig, for processes in the cluster's network."""
        return self.folder / "kubeconfig"

    @property
    def outside_kubeconfig(self) -> Path:
        """The same for a shell on this machine."""
        return self.folder / "outside.kubeconfig" if self.form == "real" else self.kubeconfig

    @property
    def has(self) -> frozenset[str]:
        return ABILITIES[self.form]

    @property
    def is_running(self) -> bool:
        return programs.born(self.pid) == self.created > 0

    def answers(self) -> bool:
        """Can its API server be reached from here?"""
        return objects.answers(self.kubeconfig)

    def door(self, name: str, host: str, port: int) -> int:
        """A port of this machine's loopback address that leads to an address in the cluster's network."""
        return port if self.form == "simulated" else doors.opened(self.folder, self.inside, name, host, port)

    def import_image(self, archive: Path) -> None:
        """Make a docker archive's image known to the node."""
        images.import_image(self.folder / "containerd.sock", archive)

    def enter(self) -> None:
        """Move this process into the cluster's network; for good."""
        from tests.cluster.machine.door import enter_network

        if self.form == "real":
            enter_network(self.inside)


def folder_of(name: str, form: Form) -> Path:
    base = Path(os.environ.get("GENAI_CLUSTERS", Path(tempfile.gettempdir()) / "genai-cluster"))
    return base / f"{name}-{form}"


def find(name: str, form: Form) -> RunningCluster | None:
    """The cluster of that name, if it runs."""
    try:
        state = json.loads((folder_of(name, form) / _STATE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    cluster = RunningCluster(**state | {"folder": Path(state["folder"])})
    return cluster if cluster.is_running else None


def up(name: str, form: Form, say: Say = lambda _: None) -> RunningCluster:
    """Start a cluster, or return the one that runs. Raises CannotStart."""
    running = find(name, form)
    if running:
        return running
    down(name, form)
    if form == "real":
        if lacking := node.lacking():
            raise CannotStart(f"A real node needs {lacking}")
        compile_packages(say)
    folder = folder_of(name, form)
    folder.mkdir(parents=True)
    artefacts = built(form, say)
    say(f"starting a cluster with {'a real node' if form == 'real' else 'simulated nodes'}")
    cluster = _start(name, form, folder, artefacts / "bin")
    try:
        _settle(cluster, artefacts)
    except Exception as error:
        _end(cluster)
        logs = folder.rename(folder.with_name(f"{folder.name}-failed-{os.getpid()}"))
        raise CannotStart(f"Cluster {name} did not come up: {error}. Its logs are in {logs}.") from error
    return cluster


def down(name: str, form: Form) -> None:
    """End the cluster and remove all that it made; absent is fine."""
    folder = folder_of(name, form)
    try:
        state = json.loads((folder / _STATE).read_text())
    except (FileNotFoundError, ValueError):
        state = None
    if state:
        _end(RunningCluster(**state | {"folder": Path(state["folder"])}))
    if form == "real":
        node.remove_cgroups(name)
    shutil.rmtree(folder, ignore_errors=True)


def _end(cluster: RunningCluster) -> None:
    doors.close(cluster.folder)
    # Nothing of it has to be kept, and the first process of a process namespace takes all others with it.
    programs.end(cluster.pid, cluster.created, signal.SIGKILL)


def _start(name: str, form: Form, folder: Path, binaries: Path) -> RunningCluster:
    at = _addresses(form)
    token = write_credentials(folder, at.host)
    write_kubeconfig(folder / "kubeconfig", at.api_url, token)
    command, environment = _command(name, form, folder, binaries, at)
    pid = programs.start(command, folder / "start.log", environment)
    inside = pid if form == "simulated" else _only_child(pid)
    cluster = RunningCluster(name, form, folder, pid, programs.born(pid), inside)
    _save(cluster)
    if form == "real":
        port = cluster.door("api", at.host, at.api)
        write_kubeconfig(folder / "outside.kubeconfig", f"https://127.0.0.1:{port}", token)
    return cluster


def _addresses(form: Form) -> Addresses:
    if form == "simulated":
        return Addresses.free("127.0.0.1")
    return Addresses(node.NODE_ADDRESS, 6443, 2379, 2380, 10257, 10259)


def _command(name: str, form: Form, folder: Path, binaries: Path, at: Addresses) -> tuple[list[str], dict[str, str]]:
    run = control_plane(binaries / "kubernetes", folder, at)
    if form == "simulated":
        return programs.supervisord_command(folder, [*run, *simulation(binaries, folder)]), {}
    run += [*node.node(binaries, folder, name), *dns.dns(binaries, folder), ray_operator(binaries, folder)]
    return node.sandboxed(programs.supervisord_command(folder, run))


def _save(cluster: RunningCluster) -> None:
    (cluster.folder / _STATE).write_text(json.dumps(asdict(cluster) | {"folder": str(cluster.folder)}))


def _only_child(pid: int) -> int:
    children = until(lambda: psutil.Process(pid).children(), "the node's first process")
    return children[0].pid


def _settle(cluster: RunningCluster, artefacts: Path) -> None:
    kubeconfig = cluster.outside_kubeconfig
    until(lambda: objects.answers(kubeconfig), "the API server")
    if cluster.form == "simulated":
        objects.apply_files(kubeconfig, simulation_objects(artefacts))
        # It indexes only the kinds that it finds when it starts; without the index no node of its own ever registers.
        programs.restart(cluster.folder, "karpenter")
        return
    objects.apply(kubeconfig, dns.dns_objects())
    objects.apply_files(kubeconfig, ray_definitions(artefacts))
    programs.restart(cluster.folder, "ray-operator")
    until((cluster.folder / "containerd.sock").exists, "containerd")
    for image in images.node_images(artefacts / "bin"):
        archive = cluster.folder / "image.tar"
        until(lambda image=image, archive=archive: _imported(cluster, image.write(archive)), f"image {image.name}")
        archive.unlink()
    until(lambda: objects.node_is_ready(kubeconfig, node.NODE), "the node")
    until(lambda: objects.has_default_account(kubeconfig), "the default service account")


def _imported(cluster: RunningCluster, archive: Path) -> bool:
    try:
        cluster.import_image(archive)
    except Exception:  # containerd's socket is there before containerd answers
        return False
    return True
