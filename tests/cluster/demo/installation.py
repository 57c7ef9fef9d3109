"""The demo's installation: S3, hub, weather and Dagster as programs of the cluster, which end with it.

They run in the cluster's network. The exports lead a shell of this machine to the same places through doors.
"""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from genai_pipeline.local.dagster_home import prepare_dagster_home
from genai_pipeline.local.hub import hub_refs
from genai_pipeline.local.ports import free_ports
from tests.cluster.identities import kubeconfig_of
from tests.cluster.life.images import own_images
from tests.cluster.life.services import (
    HUB_FOLDER,
    REPOSITORY,
    Ports,
    Service,
    answers,
    apply_role,
    code_server,
    connects,
    daemon,
    of_this_shell,
    s3_in_the_cluster,
    services,
    settings,
    webserver,
    write_model,
)
from tests.cluster.life.weather import model_file
from tests.cluster.machine.build import built, tools
from tests.cluster.machine.cluster import CannotStart, RunningCluster, Say
from tests.cluster.machine.namespaces import create_namespace, namespace_exists
from tests.cluster.machine.node import NODE_ADDRESS
from tests.cluster.machine.objects import apply
from tests.cluster.machine.programs import Program, run_beside
from tests.cluster.machine.waiting import until

NAMESPACE = "genai"
LOOPBACK = "127.0.0.1"
TOKEN_HOURS = 720
REAL_PORTS = (8333, 8400, 8401, 3000)
"""Nothing else listens in the network of a real node: S3, hub, weather, Dagster."""
LOG_LINES = 20


@dataclass(frozen=True)
class Demo:
    """A cluster and what the demo keeps in the cluster's folder."""

    cluster: RunningCluster
    secret: str
    ports: Ports
    dagster_port: int

    @classmethod
    def of(cls, cluster: RunningCluster) -> Demo:
        """The cluster's demo, with the keys and ports that it was first given."""
        folder = cluster.folder / "demo"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / "demo.json"
        if not file.exists():
            ports = REAL_PORTS if cluster.form == "real" else free_ports(4, set())
            file.write_text(json.dumps({"secret": secrets.token_hex(16), "ports": list(ports)}))
        known: dict[str, Any] = json.loads(file.read_text())
        *three, dagster = known["ports"]
        return cls(cluster, known["secret"], Ports(*three), dagster)

    @property
    def folder(self) -> Path:
        return self.cluster.folder / "demo"

    @property
    def host(self) -> str:
        """Where the services listen: on the node, or where nodes are simulated on this machine."""
        return NODE_ADDRESS if self.cluster.form == "real" else LOOPBACK

    @property
    def keys(self) -> tuple[str, str]:
        return "cluster-demo", self.secret

    @property
    def inside(self) -> dict[str, str]:
        """The settings of Dagster's processes."""
        own = settings(self.folder, NAMESPACE, self.ports, self.keys, self.host)
        return own | {"KUBECONFIG": str(self.folder / "inside.kubeconfig")}

    @property
    def outside(self) -> dict[str, str]:
        """The settings of a shell on this machine."""
        at = self.inside
        path = f"{tools(built(self.cluster.form))}:{of_this_shell()['PATH']}"
        at |= {"KUBECONFIG": str(self.folder / "genai-pipeline.kubeconfig"), "PATH": path}
        at["AWS_ENDPOINT_URL"] = self.url("s3", self.ports.s3)
        at["HF_ENDPOINT"] = self.url("hub", self.ports.hub)
        if self.cluster.form == "real":
            at |= {"GENAI_CLUSTER_ACCESS": "proxy", "GENAI_DAGSTER_URL": self.url("dagster", self.dagster_port)}
        return at

    def url(self, name: str, port: int, host: str = "") -> str:
        """The address on this machine that leads there."""
        kind = "service" if host else "process"  # a model may have the name of one of our processes
        return f"http://{LOOPBACK}:{self.cluster.door(f'{kind}-{name}', host or self.host, port)}"

    def publish(self, revision: str) -> str:
        """Let the hub's branch stand for a revision; returns the commit."""
        return hub_refs.publish(HUB_FOLDER, self.folder / "hub", REPOSITORY, revision, "main")

    def install(self, say: Say) -> None:
        """Everything before Dagster. What is there already is left as it is. Raises CannotStart."""
        if self.cluster.form == "real":
            say("importing the images of agent and chat page; a first build takes minutes")
            for archive in own_images():
                self.cluster.import_image(archive)
        say("starting S3, hub and weather in the cluster's network")
        self._run(self._services())
        admin = self.cluster.outside_kubeconfig
        if not namespace_exists(admin, NAMESPACE):
            create_namespace(admin, NAMESPACE)
        if self.cluster.form == "real":
            apply(admin, s3_in_the_cluster(NAMESPACE, self.ports.s3))
        if not (self.folder / "models").exists():
            write_model(self.folder, demo_model())
        if not (self.folder / "hub" / "refs.json").exists():
            self.publish("v1")
        say("creating the account genai-pipeline with its Role")
        apply_role(admin, self.folder, of_this_shell() | self.outside)
        self._write_kubeconfigs(admin)
        _write_private(self.folder / "env", exports(self.outside))

    def start_dagster(self, say: Say) -> None:
        """The code server first, which the others ask. Raises CannotStart."""
        say("starting Dagster")
        home, code = self.folder / "dagster", self.folder / "code.sock"
        prepare_dagster_home(home, code, max_rollouts=2)
        before = self._services()
        server = Program("code", code_server(code), self.inside)
        self._run(before, [server], lambda: connects(code))
        ui = Program("webserver", webserver(home, self.host, self.dagster_port), self.inside)
        page = f"{self.url('dagster', self.dagster_port)}/server_info"
        others = [server, ui, Program("daemon", daemon(home), self.inside)]
        self._run(before, others, lambda: answers(page))

    def _services(self) -> list[Service]:
        return services(self.folder, self.ports, self.keys, self.host)

    def _run(
        self, of: Sequence[Service], others: Sequence[Program] = (), ready: Callable[[], bool] = lambda: True
    ) -> None:
        run_beside(self.cluster.folder, [*(Program(s.name, s.command, s.environment) for s in of), *others])
        for one in of:
            self._wait(one.name, partial(answers, self.url(one.name, one.port) + one.path))
        if others:
            self._wait(others[-1].name if len(others) == 1 else others[1].name, ready)

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        try:
            until(ready, name, 120)
        except TimeoutError as error:
            raise CannotStart(f"{error}. The end of its log:\n{self.log(name)}") from error

    def log(self, name: str) -> str:
        """The last lines of a program's log, and where all of it is."""
        file = self.cluster.folder / f"{name}.log"
        lines = file.read_text(errors="replace").splitlines() if file.exists() else []
        return "\n".join([*lines[-LOG_LINES:], f"({file})"])

    def _write_kubeconfigs(self, admin: Path) -> None:
        """One token, and the two addresses of the API server."""
        outside = kubeconfig_of(admin, NAMESPACE, "genai-pipeline", self.folder, TOKEN_HOURS)
        config = yaml.safe_load(outside.read_text())
        (there,) = yaml.safe_load(self.cluster.kubeconfig.read_text())["clusters"]
        config["clusters"][0]["cluster"] = there["cluster"]
        _write_private(self.folder / "inside.kubeconfig", yaml.safe_dump(config))


def demo_model() -> dict[str, Any]:
    """As the cluster's tests serve the demo model, and watched after it went live as models/weather.yaml has it."""
    model = model_file()
    model["rollout"]["watch_minutes"] = 2
    return model


def exports(environment: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def _write_private(file: Path, text: str) -> None:
    file.touch(mode=0o600)
    file.write_text(text)
