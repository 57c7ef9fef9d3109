"""Real supervisord, tiny services."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from genai_pipeline.core.errors import NotReady, Refused
from genai_pipeline.core.profile import LOCAL_PORTS
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.ports import free_port, is_free, listening
from genai_pipeline.local.service_catalog import Service
from genai_pipeline.local.start import start_services
from genai_pipeline.local.stop import processes_of, stop_services
from genai_pipeline.local.supervision.program import Program
from genai_pipeline.local.supervision.supervisor import Supervisor

LISTEN = """
import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(64)
while True: s.accept()[0].close()
"""
RUNAWAY = "import os, time\nif os.fork(): time.sleep(600)\nos.setsid(); time.sleep(600)\n"


def tiny(name, port, code=LISTEN, home=None, after=()):
    program = Program(name, (sys.executable, "-c", code, str(port)), home, home / "logs" / f"{name}.log", stop_wait_s=2)
    listens = code == LISTEN
    return Service(program, (lambda: not is_free(port)) if listens else None, after, port if listens else None)


def two_services(installation, ports, env):
    """Under names that have ports, one after the other."""
    home = installation.home
    return [tiny("s3", ports["s3"], home=home), tiny("hub", ports["hub"], home=home, after=("s3",))]


@pytest.fixture
def env():
    """Ports of this test's own."""
    return {f"GENAI_{name.upper()}_PORT": str(free_port()) for name in LOCAL_PORTS}


@pytest.fixture
def installation(tmp_path):
    installation = Installation(tmp_path / "h")
    yield installation
    stop_services(installation, lambda _: None)


def start(installation, env, make=two_services, said=None, **kwargs):
    return start_services(installation, env, (said if said is not None else []).append, make, **kwargs)


def pids(installation):
    return {info.name: info.pid for info in Supervisor(installation.home).all()}


def test_services_start_in_order_and_say_when_they_are_ready(installation, env):
    said = []

    started = start(installation, env, said=said)

    assert [line.split()[0] for line in said] == ["s3", "hub"]
    assert started.fresh == {"s3", "hub"}
    assert installation.ports() == started.ports


def test_a_service_that_is_not_waited_for_starts_last_and_its_failure_stops_nothing(installation, env):
    def make(installation, ports, env):
        home = installation.home
        ends = tiny("prometheus", ports["prometheus"], code="raise SystemExit('no')", home=home)
        return [replace(ends, is_waited_for=False), *two_services(installation, ports, env)]

    started = start(installation, env, make)

    assert started.fresh == {"s3", "hub"}
    assert set(pids(installation)) == {"s3", "hub", "prometheus"}


def test_a_service_whose_program_is_no_longer_used_is_stopped(installation, env):
    def make(*names):
        return lambda i, ports, env: [tiny(name, ports[name], home=i.home) for name in names]

    start(installation, env, make("s3", "alertmanager"))
    assert set(pids(installation)) == {"s3", "alertmanager"}

    start(installation, env, make("s3"))

    assert set(pids(installation)) == {"s3"}


def test_a_changed_file_of_a_service_is_written_before_it_starts_again(installation, env):
    def make(text):
        def made(installation, ports, env):
            reads = f"import time; open({str(installation.home / 'read')!r}, 'a').write(open('conf').read())"
            service = tiny("s3", ports["s3"], code=f"{reads}; time.sleep(600)", home=installation.home)
            program = replace(service.program, environment={"GENAI_CONFIGURATION": text})
            return [replace(service, program=program, files={installation.home / "conf": text})]

        return made

    start(installation, env, make("one "))
    start(installation, env, make("one "))
    start(installation, env, make("two "))

    assert (installation.home / "read").read_text() == "one two "


def test_starting_again_leaves_what_runs_alone(installation, env):
    start(installation, env)
    before = pids(installation)

    again = start(installation, {})

    assert pids(installation) == before
    assert again.fresh == frozenset()


def test_down_leaves_nothing_running_and_nothing_listening(installation, env):
    ports = start(installation, env).ports
    everything = processes_of(installation)

    stop_services(installation, lambda _: None)

    assert everything
    assert processes_of(installation) == []
    assert all(is_free(port) for port in ports.values())
    assert not (installation.home / "supervisor.sock").exists()
    stop_services(installation, lambda _: None)


def test_down_finds_a_process_that_left_its_group(installation, env):
    start(installation, env, lambda i, p, e: [tiny("hub", 0, RUNAWAY, i.home)])
    assert len(processes_of(installation)) >= 2
    said = []

    stop_services(installation, said.append)

    assert processes_of(installation) == []
    assert any("killing" in line for line in said)


def test_what_a_start_in_the_background_of_a_script_starts_can_be_interrupted(installation, env):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as its shell does; Dagster then would not mind SIGTERM
    try:
        start(installation, env)
    finally:
        signal.signal(signal.SIGINT, before)

    started = [*pids(installation).values(), int((installation.home / "supervisord.pid").read_text())]
    assert [pid for pid in started if ignores(pid, signal.SIGINT)] == []


def ignores(pid, number):
    """Source: proc(5), SigIgn of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
    return bool(mask & 1 << (number - 1))


def test_a_port_taken_by_someone_else_is_moved_away_from_and_remembered(installation, env):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        installation.write_addresses({**{n: int(env[f"GENAI_{n.upper()}_PORT"]) for n in LOCAL_PORTS}, "s3": taken}, {})
        free = {k: v for k, v in env.items() if k != "GENAI_S3_PORT"}

        moved = start(installation, free).ports["s3"]

    assert moved != taken
    assert start(installation, free).ports["s3"] == moved


def test_a_port_that_is_lost_between_the_look_and_the_start_is_given_up(installation, env):
    """Somebody answers in the service's place: talking to that one would be talking to a stranger."""
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        lost = thief.getsockname()[1]

        def steal(installation, ports, env):
            thief.listen()
            return [tiny("s3", ports["s3"], home=installation.home)]

        installation.write_addresses({**{n: int(env[f"GENAI_{n.upper()}_PORT"]) for n in LOCAL_PORTS}, "s3": lost}, {})
        said = []
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        ports = start(installation, {k: v for k, v in env.items() if k != "GENAI_S3_PORT"}, steal, said).ports

    assert ports["s3"] != lost
    assert any(f"s3 lost port {lost} to " in line for line in said), said
    assert pids(installation)["s3"] in {pid for (_, port), pid in listening().items() if port == ports["s3"]}


def test_two_installations_that_start_at_once_both_start(installation):
    """They take the usual ports in the same order: each try once lost the next port, and three losses were the end."""
    with ExitStack() as stack:
        thieves = [stack.enter_context(socket.socket()) for _ in LOCAL_PORTS]
        for thief in thieves:
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("127.0.0.1", 0))
        usual = [thief.getsockname()[1] for thief in thieves]
        installation.write_addresses(dict(zip(LOCAL_PORTS, usual, strict=True)), {})

        def beside_a_rival(installation, ports, env):
            """Each service starts after the one before. The rival takes the first port that both want."""
            contested = [thief for thief, port in zip(thieves, usual, strict=True) if port in ports.values()]
            for thief in contested[:1]:
                thief.listen()
            names = list(ports)
            return [tiny(n, ports[n], home=installation.home, after=names[:i]) for i, n in enumerate(names)]

        ports = start(installation, {}, beside_a_rival).ports

    assert not set(ports.values()) & set(usual)


def test_another_service_of_ours_does_not_answer_in_the_place_of_one(installation, env):
    """An inner port of S3 was once the port of the webserver, which then seemed to be ready after a second."""

    def one_port_for_both(installation, ports, env):
        return two_services(installation, {"s3": ports["hub"], "hub": ports["hub"]}, env)

    said = []
    with pytest.raises(Refused):
        start(installation, env, one_port_for_both, said)

    assert any("hub lost port" in line for line in said), said


def test_down_does_not_mind_a_stranger_on_a_port_of_ours(installation, env):
    ports = start(installation, env).ports
    stop_services(installation, lambda _: None)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", ports["s3"]))
        other.listen()

        stop_services(installation, lambda _: None)

    assert processes_of(installation) == []


def test_a_fixed_port_that_is_taken_starts_nothing(installation, env):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        env["GENAI_S3_PORT"] = str(other.getsockname()[1])
        with pytest.raises(Refused, match=rf"taken by .*\(pid {os.getpid()}\)"):
            start(installation, env)

    assert processes_of(installation) == []


def test_a_service_that_cannot_start_is_named_with_its_last_log_lines(installation, env):
    broken = "import sys; sys.exit('no such disk')"
    make = lambda i, p, e: [tiny("s3", p["s3"], home=i.home), tiny("hub", 0, broken, i.home)]  # noqa: E731

    with pytest.raises(NotReady, match=r"The service hub .*\n(.*\n)*no such disk"):
        start(installation, env, make, deadline_s=3)

    assert start(installation, {}).fresh == {"hub"}


def test_a_service_that_was_still_starting_when_it_was_replaced_is_fresh(installation, env):
    """supervisord says STARTING of it, which is no reason to take it for the one that is wanted."""
    slow = replace(tiny("hub", 0, "import time; time.sleep(600)", installation.home).program, start_s=600)
    with pytest.raises(NotReady, match=r"hub does not answer .*STARTING"):
        start(installation, env, lambda i, p, e: [tiny("s3", p["s3"], home=i.home), Service(slow, None)], deadline_s=3)

    assert start(installation, {}).fresh == {"hub"}


def test_a_start_that_was_killed_is_continued_by_the_next_one(installation, env, tmp_path):
    """Killed when the first service is up and the second one has not been started."""
    code = f"""
import os, signal, sys; sys.path.insert(0, {os.getcwd()!r})
from pathlib import Path
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.start import start_services
from tests.integration.cli.test_services import two_services
die = lambda line: os.kill(os.getpid(), signal.SIGKILL)
start_services(Installation(Path({str(installation.home)!r})), {env!r}, die, two_services)
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=os.getcwd(), check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (first,) = pids(installation).items()

    start(installation, env)

    assert first in pids(installation).items()
    assert set(pids(installation)) == {"s3", "hub"}


def test_two_starts_at_once_are_one_start(installation, env):
    gate = threading.Barrier(2)

    def go(_):
        gate.wait()
        return start(installation, env).ports

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(go, range(2))

    assert one == other
    assert len(pids(installation)) == 2


def test_a_supervisord_that_was_killed_is_replaced_with_all_it_had(installation, env):
    start(installation, env)
    psutil.Process(int((installation.home / "supervisord.pid").read_text())).kill()

    started = start(installation, env)

    assert started.fresh == {"s3", "hub"}
    assert len(processes_of(installation)) >= 2
