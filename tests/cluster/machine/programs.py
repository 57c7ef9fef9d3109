"""The programs of one cluster, supervised by one supervisord."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_HEADER = """\
[supervisord]
nodaemon = true
logfile = {folder}/supervisord.log
pidfile = {folder}/supervisord.pid
identifier = genai-cluster

[unix_http_server]
file = {folder}/supervisor.sock

[supervisorctl]
serverurl = unix://{folder}/supervisor.sock

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = {folder}/beside.conf
"""

_PROGRAM = """
[program:{name}]
command = {command}
environment = {environment}
stdout_logfile = {folder}/{name}.log
redirect_stderr = true
autorestart = true
startsecs = 0
startretries = 100
stopwaitsecs = 5
priority = {priority}
"""


@dataclass(frozen=True)
class Program:
    """A command that has to run as long as the cluster does; it is started again when it ends."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def supervisord_command(folder: Path, programs: Sequence[Program]) -> list[str]:
    """Write the configuration; returns the command that runs all programs."""
    config = folder / "supervisord.conf"
    config.write_text(_HEADER.format(folder=folder) + _sections(folder, programs))
    return [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]


def run_beside(folder: Path, programs: Sequence[Program]) -> None:
    """Have the cluster run these programs too, in its namespaces, until it ends; those that did not change run on.

    Each call names all of them. Their environment may hold credentials.
    """
    config = folder / "beside.conf"
    config.touch(mode=0o600)
    config.write_text(_sections(folder, programs))
    _control(folder, "update")


def _sections(folder: Path, programs: Sequence[Program]) -> str:
    return "".join(
        _PROGRAM.format(
            name=program.name,
            # A per cent sign would be supervisord's own.
            command=" ".join(map(_quoted, program.command)).replace("%", "%%"),
            environment=",".join(f'{key}="{value}"' for key, value in program.environment.items()),
            folder=folder,
            priority=priority,
        )
        for priority, program in enumerate(programs)
    )


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> int:
    """Start a process that outlives this one; returns its id."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env=os.environ | dict(environment or {}),
        )
    return process.pid


def restart(folder: Path, name: str) -> None:
    """Start one program of the cluster again."""
    _control(folder, "restart", name)


def _control(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(folder / "supervisord.conf"), *words]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def born(pid: int) -> float:
    """When the process began: with its id what tells it from a later one. 0 when there is none."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def end(pid: int, created: float, how: signal.Signals, patience_s: float = 20) -> None:
    """End exactly this process and wait until it and what it started are gone. An absent one is fine.

    SIGKILL goes to all of them at once, any other signal to the process alone.
    """
    if not created or born(pid) != created:
        return
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    for one in family if how is signal.SIGKILL else [process]:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(how)
    _, left = psutil.wait_procs(family, timeout=patience_s)
    for child in left:
        child.kill()
    psutil.wait_procs(left, timeout=patience_s)


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
