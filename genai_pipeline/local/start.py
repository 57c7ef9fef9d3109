"""Start the services of the local profile, all at once, and wait until each one answers.

Run it as often as you like: what runs already, as it should, is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from genai_pipeline.core.errors import ClusterUnavailable, NotReady, Refused
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.local.alertmanager_server import ALERTMANAGER, webhook_file
from genai_pipeline.local.dagster_home import prepare_dagster_home
from genai_pipeline.local.installation import Installation, uses_own_hub
from genai_pipeline.local.log_files import last_lines
from genai_pipeline.local.ports import HOST, PortChoice, choose_ports, free_port, holder_of, is_free, listening
from genai_pipeline.local.service_catalog import OPTIONAL, PORT_OF, Service, services
from genai_pipeline.local.state_files import locked, write_private
from genai_pipeline.local.supervision.supervisor import Supervisor, processes_below

READY_DEADLINE_S = 120.0
POLL_S = 0.1

PORT_TRIES = 3

Make = Callable[[Installation, Mapping[str, int], Mapping[str, str]], list[Service]]


@dataclass(frozen=True)
class Started:
    """`fresh`: services that this call started."""

    ports: Mapping[str, int]
    fresh: frozenset[str]


def start_services(
    installation: Installation,
    env: Mapping[str, str],
    say: Log,
    make: Make = services,
    deadline_s: float = READY_DEADLINE_S,
) -> Started:
    """Bring every service up.

    Args:
        env: the user's environment, as it was before we put anything into it.

    Raises: Refused: a port the user fixed is taken; NotReady: a service does not come up, with its last log lines.
    """
    supervisor = Supervisor(installation.home)
    installation.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(installation.home / "up.lock"):  # two at once would choose each other's ports
        supervisor.ensure_running()  # first, because it ends what a killed predecessor left on our ports
        env = _without_own_hub(env, installation.ports())
        for tried in range(PORT_TRIES):
            try:
                return _start(installation, supervisor, env, say, make, deadline_s, contested=tried > 0)
            except PortLost as lost:
                say(str(lost))
                supervisor.stop(lost.service)
    raise NotReady(
        "Other programs took the chosen ports three times.", "Run `genai up` again, or fix ports; see README.md."
    )


class PortLost(Refused):
    """Another program took a service's port between our look and its start, and answers in its place."""

    def __init__(self, service: Service) -> None:
        self.service = service.name
        holder = holder_of(service.port or 0)
        super().__init__(f"{service.name} lost port {service.port} to {holder}.", "It gets another one.")


def _start(
    installation: Installation,
    supervisor: Supervisor,
    env: Mapping[str, str],
    say: Log,
    make: Make,
    deadline_s: float,
    contested: bool,
) -> Started:
    running = running_services(supervisor)
    choice = _ports(installation, supervisor, running, env, contested)
    for note in choice.notes:
        say(note)
    _prepare(installation, choice.ports, env)
    wanted = make(installation, choice.ports, env)
    if ALERTMANAGER not in {service.name for service in wanted}:
        webhook_file(installation.home).unlink(missing_ok=True)  # a secret that is no longer used
    return Started(choice.ports, _start_all(supervisor, wanted, say, deadline_s))


def running_services(supervisor: Supervisor) -> frozenset[str]:
    """Names of the programs that supervisord keeps now: an empty set without a supervisord."""
    try:
        return frozenset(info.name for info in supervisor.all() if info.running)
    except ClusterUnavailable:
        return frozenset()


def ours(running: frozenset[str]) -> frozenset[str]:
    """The names, in `LOCAL_PORTS`, of ports that running services hold."""
    return frozenset(port for service, port in PORT_OF.items() if service in running)


def _ports(
    installation: Installation, supervisor: Supervisor, running: frozenset[str], env: Mapping[str, str], contested: bool
) -> PortChoice:
    try:
        return choose_ports(env, installation.ports(), ours(running), is_free, free_port, contested)
    except Refused:
        if not running:
            supervisor.shutdown()
        raise


def _start_all(supervisor: Supervisor, wanted: Sequence[Service], say: Log, deadline_s: float) -> frozenset[str]:
    """Start each as soon as what it comes after is ready; return those that have another process than before."""
    end = time.monotonic() + deadline_s
    before = {info.name: info.pid for info in supervisor.all()}
    started_at: dict[str, float] = {}
    ready: set[str] = set()
    fresh: set[str] = set()
    waited = [service for service in wanted if service.is_waited_for]
    while len(ready) < len(waited):
        for service in waited:
            if service.name not in started_at and ready.issuperset(service.after):
                _start_one(supervisor, service)
                started_at[service.name] = time.monotonic()
        for service in waited:
            if service.name in started_at and service.name not in ready and _is_ready(service, supervisor):
                ready.add(service.name)
                seconds = time.monotonic() - started_at[service.name]
                now = supervisor.info(service.name)
                if now and now.pid != before.get(service.name):
                    fresh.add(service.name)
                say(f"{service.name} " + (f"is ready ({seconds:.1f} s)" if service.name in fresh else "runs"))
        waiting = [s for s in waited if s.name in started_at and s.name not in ready]
        _refuse_the_dead(supervisor, waiting, out_of_time=time.monotonic() > end, deadline_s=deadline_s)
        time.sleep(POLL_S if waiting else 0)
    for service in wanted:
        if not service.is_waited_for:
            _start_one(supervisor, service)
    for name in before.keys() & set(OPTIONAL) - {service.name for service in wanted}:
        supervisor.remove(name)
    return frozenset(fresh)


def _start_one(supervisor: Supervisor, service: Service) -> None:
    for path, text in service.files.items():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, text)
    supervisor.start(service.program)


def _is_ready(service: Service, supervisor: Supervisor) -> bool:
    if service.answers is not None:
        answers = service.answers()
        if answers and service.port is not None and not _holds(supervisor, service.name, service.port):
            raise PortLost(service)
        return answers
    info = supervisor.info(service.name)
    return info is not None and info.state == "RUNNING"


def _holds(supervisor: Supervisor, service: str, port: int) -> bool:
    """Return whether the service itself listens on the port, and not another program or another service."""
    info = supervisor.info(service)
    return info is not None and listening().get((HOST, port)) in processes_below(info.pid)


def _refuse_the_dead(supervisor: Supervisor, waiting: Sequence[Service], out_of_time: bool, deadline_s: float) -> None:
    for service in waiting:
        info = supervisor.info(service.name)
        state = info.state if info else "unknown"
        if state == "FATAL" or out_of_time:
            why = "ended again and again" if state == "FATAL" else f"does not answer after {deadline_s:.0f} s ({state})"
            raise NotReady(
                f"The service {service.name} {why}. Its log ends:\n{last_lines(service.program.log, 15)}\n",
                f"See {service.program.log}; `genai doctor` looks for causes. Then run `genai up` again.",
            )


def _prepare(installation: Installation, ports: Mapping[str, int], env: Mapping[str, str]) -> None:
    max_rollouts = Profile.load({**env, "GENAI_HOME": str(installation.home)}).max_rollouts
    prepare_dagster_home(installation.dagster_home, installation.code_socket, max_rollouts)
    installation.write_addresses(ports, env)


def _without_own_hub(env: Mapping[str, str], ports: Mapping[str, int]) -> Mapping[str, str]:
    """After `eval "$(genai env)"` HF_ENDPOINT names our own hub: that is not the user's choice of another one."""
    if ports.get("hub") and uses_own_hub(ports, env):
        return {k: v for k, v in env.items() if k != "HF_ENDPOINT"}
    return env
