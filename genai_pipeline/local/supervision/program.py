"""The description of a program, the files from which supervisord reads it, and what supervisord says of it."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import Refused

SUPERVISED_BY = "GENAI_SUPERVISED_BY"
"""In every program's environment: the home it belongs to, so that orphans can be recognised."""


@dataclass(frozen=True)
class Program:
    """A process to keep.

    Args:
        environment: all of it; only PATH, HOME and LANG are added where they are missing.
        log: file for stdout and stderr; rotated at 10 MB, one old file kept.
        autorestart: start it again whenever it ends, after supervisord's own back-off.
        stop_wait_s: seconds between SIGTERM, to the main process, and SIGKILL, to its whole process group.
        start_s: seconds it must stay up to count as started; 0 leaves every exit to the caller.
    """

    name: str
    command: Sequence[str]
    directory: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    autorestart: bool = True
    stop_wait_s: int = 10
    start_s: int = 1


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord says of a program.

    Args:
        state: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN.
        exit_status: -1 after a signal, None while it runs.
        started_at: Unix time, 0 for never.
    """

    name: str
    state: str
    pid: int | None
    exit_status: int | None
    started_at: float

    @property
    def running(self) -> bool:
        return self.state in ("STARTING", "RUNNING")


def process_info(raw: Mapping[str, Any]) -> ProcessInfo:
    """Return what supervisord's reply of getProcessInfo says."""
    ended = raw["statename"] in ("EXITED", "STOPPED", "FATAL") and raw["stop"]
    exit_status = raw["exitstatus"] if ended else None
    return ProcessInfo(raw["name"], raw["statename"], raw["pid"] or None, exit_status, float(raw["start"]))


def launch_file(program: Program, home: Path) -> str:
    launch = {
        "command": list(program.command),
        "directory": str(program.directory),
        "environment": with_defaults(program.environment) | {SUPERVISED_BY: str(home)},
        "stop_wait_s": program.stop_wait_s,
    }
    return json.dumps(launch, indent=1, sort_keys=True)


def with_defaults(environment: Mapping[str, str]) -> dict[str, str]:
    defaults = {"PATH": os.defpath, "HOME": "/", "LANG": "C.UTF-8"}
    return {key: os.environ.get(key, value) for key, value in defaults.items()} | dict(environment)


def program_config(program: Program, folder: Path, launch: str) -> str:
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py"))]
    digest = hashlib.sha256(launch.encode()).hexdigest()
    command = shlex.join([*launcher, str(folder / f"{program.name}.json"), digest])
    settings = {
        "command": command,
        "directory": "/",
        "autostart": "false",
        "autorestart": "true" if program.autorestart else "false",
        "startsecs": program.start_s,
        "startretries": 10,
        "stopsignal": "TERM",
        "stopwaitsecs": program.stop_wait_s,
        # As in a container: SIGTERM reaches the main process alone, SIGKILL reaches all.
        "stopasgroup": "false",
        "killasgroup": "true",
        "redirect_stderr": "true",
        # Expanded twice, unlike every other value (supervisor 4.3).
        "stdout_logfile": str(program.log.absolute()).replace("%", "%%"),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": 1,
    }
    return _ini(f"program:{program.name}", settings)


def supervisord_config(home: Path) -> str:
    return "\n".join(
        [
            _ini("unix_http_server", {"file": home / "supervisor.sock", "chmod": "0600"}),
            _ini(
                "supervisord",
                {
                    "logfile": home / "supervisord.log",
                    "logfile_maxbytes": "5MB",
                    "logfile_backups": 1,
                    "pidfile": home / "supervisord.pid",
                    "childlogdir": home,
                    "umask": "077",
                    "minfds": 1024,
                },
            ),
            _ini(
                "rpcinterface:supervisor",
                {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
            ),
            # Relative, because supervisord splits this list at white space.
            _ini("include", {"files": "supervisor.d/*.conf"}),
        ]
    )


def _ini(section: str, settings: Mapping[str, object]) -> str:
    """supervisord expands %(name)s in every value, and cuts a value at ` ;`."""
    lines = [f"{key} = {str(value).replace('%', '%%')}" for key, value in settings.items()]
    for line in lines:
        if " ;" in line or "\n" in line:
            raise Refused(f"supervisord cannot hold {line!r}.", "Choose a path without semicolon or line break.")
    return "\n".join([f"[{section}]", *lines, ""])
