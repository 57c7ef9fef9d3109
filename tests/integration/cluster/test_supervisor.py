"""The real supervisord: what `genai up` and the local cluster rely on."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from genai_pipeline.core.errors import ClusterUnavailable, Refused
from genai_pipeline.local.supervision.supervisor import Program, Supervisor
from tests.integration.cluster.conftest import until

SLEEP = "import time; time.sleep(60)"


@pytest.fixture(scope="module")
def shared_supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path_factory.mktemp("a b%c"))
    supervisor.ensure_running()
    yield supervisor
    supervisor.shutdown()


@pytest.fixture
def supervisor(shared_supervisor: Supervisor) -> Iterator[Supervisor]:
    """One that runs and knows no program."""
    yield shared_supervisor
    for info in shared_supervisor.all():
        shared_supervisor.remove(info.name)
    for log in shared_supervisor.home.glob("p.log"):
        log.unlink()


def program(supervisor: Supervisor, code: str = SLEEP, name: str = "p", **fields: object) -> Program:
    home = supervisor.home
    command = [sys.executable, "-c", code]
    plain = Program(name, command, home, home / f"{name}.log", autorestart=False, start_s=0, stop_wait_s=1)
    return dataclasses.replace(plain, **fields)


def pid_of(supervisor: Supervisor, name: str = "p") -> int:
    info = supervisor.info(name)
    assert info is not None
    assert info.pid
    return info.pid


def test_environment_and_arguments_arrive_whatever_they_hold(supervisor: Supervisor) -> None:
    awkward = 'it\'s "x", 100% %(here)s ; # $HOME\n\\ ü'
    show = "import json,os,sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))"
    wanted = program(supervisor, show, environment={"A": awkward, "B": "'q'", "C": ""})
    wanted = dataclasses.replace(wanted, command=[*wanted.command, awkward])
    supervisor.start(wanted)

    environment, arguments = json.loads(until(lambda: wanted.log.exists() and wanted.log.read_text()))
    assert {k: environment[k] for k in "ABC"} == {"A": awkward, "B": "'q'", "C": ""}
    assert arguments == [awkward]
    assert {"PATH", "HOME", "LANG"} <= environment.keys()
    assert "PYTEST_CURRENT_TEST" not in environment


def test_files_that_hold_environments_are_readable_by_their_owner_only(supervisor: Supervisor) -> None:
    supervisor.start(program(supervisor, environment={"KEY": "secret"}))

    files = list((supervisor.home / "supervisor.d").iterdir())
    assert any("secret" in file.read_text() for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_an_unchanged_program_is_left_alone_and_a_changed_one_replaced(supervisor: Supervisor) -> None:
    supervisor.start(program(supervisor))
    first = pid_of(supervisor)
    supervisor.start(program(supervisor))
    assert pid_of(supervisor) == first

    supervisor.start(program(supervisor, environment={"NEW": "1"}))
    assert pid_of(supervisor) != first
    assert not psutil.pid_exists(first)


def test_an_exit_is_reported_with_its_status(supervisor: Supervisor) -> None:
    supervisor.start(program(supervisor, "raise SystemExit(3)"))

    until(lambda: (info := supervisor.info("p")) and info.state == "EXITED")
    assert supervisor.info("p").exit_status == 3  # type: ignore[union-attr]


def test_a_program_that_does_not_exist_says_so_in_its_log(supervisor: Supervisor) -> None:
    missing = program(supervisor, command=["/nonexistent/program"])
    supervisor.start(missing)

    assert "/nonexistent/program" in until(lambda: missing.log.exists() and missing.log.read_text())
    until(lambda: supervisor.info("p").exit_status == 127)  # type: ignore[union-attr]


def test_autorestart_starts_a_killed_program_again(supervisor: Supervisor) -> None:
    supervisor.start(program(supervisor, autorestart=True))
    first = pid_of(supervisor)
    os.kill(first, 9)

    assert until(lambda: (info := supervisor.info("p")) and info.pid not in (None, first))


def test_stop_ends_the_children_of_a_program_too(supervisor: Supervisor) -> None:
    parent = "import subprocess,sys,time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    wanted = program(supervisor, parent)
    supervisor.start(wanted)
    child = int(until(lambda: wanted.log.exists() and wanted.log.read_text()))
    supervisor.stop("p")

    assert until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_remove_forgets_the_program_and_absent_is_fine(supervisor: Supervisor) -> None:
    supervisor.start(program(supervisor))
    supervisor.remove("p")
    supervisor.remove("p")

    assert supervisor.info("p") is None
    assert supervisor.all() == []
    assert list((supervisor.home / "supervisor.d").iterdir()) == []


def test_after_a_crash_of_supervisord_it_starts_again_and_leaves_no_orphan(supervisor: Supervisor) -> None:
    supervisor.start(program(supervisor))
    orphan = psutil.Process(pid_of(supervisor))
    supervisord = psutil.Process(int((supervisor.home / "supervisord.pid").read_text()))
    supervisord.kill()
    psutil.wait_procs([supervisord], timeout=5)
    with pytest.raises(ClusterUnavailable, match="genai up"):
        supervisor.all()

    supervisor.ensure_running()

    until(lambda: not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE)
    assert [info.state for info in supervisor.all()] == ["STOPPED"]


def test_several_may_ensure_it_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    supervisor = Supervisor(tmp_path_factory.mktemp("s"))
    problems: list[Exception] = []

    def ensure() -> None:
        try:
            Supervisor(supervisor.home).ensure_running()
        except Exception as error:  # collected for the assertion
            problems.append(error)

    threads = [threading.Thread(target=ensure) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert problems == []
        assert supervisor.is_running()
    finally:
        supervisor.shutdown()
    assert not supervisor.is_running()
    supervisor.shutdown()


def test_a_home_too_deep_for_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="GENAI_HOME"):
        Supervisor(tmp_path / ("x" * 100))
