"""The services of the local profile: what each one runs, and how to tell that it is ready."""

from __future__ import annotations

import http.client
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.profile import Profile
from genai_pipeline.local.alertmanager_server import (
    ALERTMANAGER,
    alertmanager_command,
    alertmanager_files,
    find_alertmanager,
    webhook_file,
)
from genai_pipeline.local.gpu_exporter import GPU_EXPORTER, has_gpu
from genai_pipeline.local.installation import PROJECT, Installation
from genai_pipeline.local.ports import HOST
from genai_pipeline.local.prometheus_server import (
    GO_MEMORY,
    PROMETHEUS,
    digest_of,
    find_prometheus,
    prometheus_command,
    prometheus_files,
)
from genai_pipeline.local.s3_server import STOP_WAIT_S, s3_command
from genai_pipeline.local.supervision.program import Program
from genai_pipeline.observability.alert_relay import ALERT_WEBHOOK

SERVICES = (
    "s3",
    "hub",
    "weather-server",
    "cluster",
    "code",
    "webserver",
    "daemon",
    "exporter",
    PROMETHEUS,
    ALERTMANAGER,
    GPU_EXPORTER,
)
OPTIONAL = (PROMETHEUS, ALERTMANAGER, GPU_EXPORTER)
"""Services that run only where their program is installed, or where there is a GPU."""
PORT_OF = {
    "s3": "s3",
    "hub": "hub",
    "weather-server": "weather",
    "cluster": "cluster",
    "webserver": "dagster",
    "exporter": "exporter",
    PROMETHEUS: "prometheus",
    ALERTMANAGER: "alertmanager",
    GPU_EXPORTER: "gpu_exporter",
}
"""Service -> its name in `LOCAL_PORTS`; the code server and the daemon need no port."""


@dataclass(frozen=True)
class Service:
    """`after`: services that must be ready before this one starts.

    `answers` is asked until it says yes. It is None where the service only has to stay up. `port` is where it must be
    ours. `files`: what it reads, written before it starts. `is_waited_for` is False where users need not wait for it:
    it starts last.
    """

    program: Program
    answers: Callable[[], bool] | None
    after: tuple[str, ...] = ()
    port: int | None = None
    files: Mapping[Path, str] = field(default_factory=dict[Path, str])
    is_waited_for: bool = True

    @property
    def name(self) -> str:
        return self.program.name


def services(
    installation: Installation,
    ports: Mapping[str, int],
    env: Mapping[str, str],
    sees_gpu: Callable[[], bool] = has_gpu,
) -> list[Service]:
    """Every service. The same arguments give the same programs, so a running one is left alone."""
    make = _Maker(installation, installation.service_environment(ports, env))
    home = installation.home
    hub = ["hub.hub_server", "--folder", str(PROJECT / "demo" / "hub"), "--state", str(home / "hub")]
    key, secret = installation.credentials
    s3 = s3_command(home, ports["s3"], key, secret, promised=ports.values())
    workspace = ["-w", str(home / "dagster" / "workspace.yaml")]
    code = ["-m", "dagster", "code-server", "start", "-s", str(installation.code_socket)]
    code += ["-m", "genai_pipeline.definitions", "-d", str(PROJECT), "--location-name", "genai_pipeline"]
    webserver = ["-m", "dagster_webserver", *workspace, "-h", HOST, "-p", str(ports["dagster"])]
    # Its module is private; its script lies beside the interpreter.
    daemon = [str(Path(sys.executable).with_name("dagster-daemon")), "run", *workspace]
    cluster = ["-m", "genai_pipeline.local.cluster", "--home", str(home), "--port", str(ports["cluster"])]
    exporter = ["-m", "genai_pipeline.cli", "exporter", "--port", str(ports["exporter"])]
    return [
        _on_port(ports["s3"], make.program("s3", s3.argv, env=s3.env, stop_wait_s=STOP_WAIT_S)),
        _on_port(ports["hub"], make.module("hub", *hub, "--port", str(ports["hub"])), "/"),
        _on_port(ports["weather"], make.module("weather-server", "weather_server", "--port", str(ports["weather"]))),
        _on_port(ports["cluster"], make.python("cluster", *cluster)),
        Service(make.python("code", *code, stop_wait_s=3), _unix(installation.code_socket)),
        _on_port(ports["dagster"], make.python("webserver", *webserver), "/server_info"),
        # Both make the SQLite files on their first start, and two at once collide; and a daemon that finds no code
        # server looks for it again only a minute later.
        Service(make.python("daemon", *daemon), None, after=("webserver", "code")),
        _on_port(ports["exporter"], make.python("exporter", *exporter)),
        *_metrics(installation, make, ports, env, sees_gpu),
    ]


def _metrics(
    installation: Installation,
    make: _Maker,
    ports: Mapping[str, int],
    env: Mapping[str, str],
    sees_gpu: Callable[[], bool],
) -> list[Service]:
    """Return the exporter of GPUs where there are any, then Prometheus and Alertmanager where they are installed.

    Prometheus is started again when the gates of a model file change.
    """
    prometheus = find_prometheus(env)
    alertmanager = find_alertmanager(env, prometheus)
    with_gpu = sees_gpu()
    started = [_gpu_exporter(make, ports)] if with_gpu else []
    if prometheus.program is None:
        return started
    home = installation.home
    models = read_models(Path(env.get("GENAI_MODELS") or PROJECT / "models"), on_one_machine=True)
    profile = Profile.load({**env, "GENAI_HOME": str(home)})
    files = prometheus_files(home, ports, models.specs, profile, alertmanager.program is not None, with_gpu)
    command = prometheus_command(prometheus.program, home, ports[PROMETHEUS])
    started.append(_not_waited_for(make, PROMETHEUS, command, ports, files))
    if alertmanager.program:
        files = alertmanager_files(home, ports)
        command = alertmanager_command(alertmanager.program, home, ports[ALERTMANAGER])
        service = _not_waited_for(make, ALERTMANAGER, command, ports, files)
        started.append(replace(service, files={**service.files, webhook_file(home): env[ALERT_WEBHOOK]}))
    return started


def _gpu_exporter(make: _Maker, ports: Mapping[str, int]) -> Service:
    port = ports[PORT_OF[GPU_EXPORTER]]
    program = make.module(GPU_EXPORTER, "gpu_exporter", "--port", str(port))
    return Service(program, None, port=port, is_waited_for=False)


def _not_waited_for(
    make: _Maker, name: str, command: Sequence[str], ports: Mapping[str, int], files: Mapping[Path, str]
) -> Service:
    """A change of its files makes it another program, so that it is started again."""
    program = make.program(name, tuple(command), env=GO_MEMORY | {"GENAI_CONFIGURATION": digest_of(files)})
    return Service(program, None, port=ports[name], files=files, is_waited_for=False)


def _on_port(port: int, program: Program, path: str = "/healthz") -> Service:
    return Service(program, _http(port, path), port=port)


@dataclass(frozen=True)
class _Maker:
    installation: Installation
    environment: Mapping[str, str]

    def program(
        self, name: str, command: tuple[str, ...], env: Mapping[str, str] | None = None, stop_wait_s: int = 5
    ) -> Program:
        """With `env`, of the common environment only the paths."""
        common = {k: self.environment[k] for k in ("PATH", "HOME")}
        return Program(
            name=name,
            command=command,
            directory=PROJECT,
            log=self.installation.log(name),
            environment=self.environment if env is None else common | dict(env),
            stop_wait_s=stop_wait_s,
        )

    def python(self, name: str, *args: str, stop_wait_s: int = 5) -> Program:
        return self.program(name, (sys.executable, *args), stop_wait_s=stop_wait_s)

    def module(self, name: str, module: str, *args: str) -> Program:
        return self.python(name, "-m", f"genai_pipeline.local.{module}", *args)


def _http(port: int, path: str) -> Callable[[], bool]:
    def answers() -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=2)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            return connection.getresponse().status < 500
        return False

    return answers


def _unix(path: Path) -> Callable[[], bool]:
    def answers() -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.settimeout(2)
            probe.connect(str(path))
            return True
        return False

    return answers
