"""One supervisord per home, over XML-RPC on `<home>/supervisor.sock`.

It keeps every process of the local profile: our own services and the processes that stand for pods. The
programs are files below `<home>/supervisor.d/`, two each and readable by their owner only, because
environments hold credentials: `<name>.conf` for supervisord and `<name>.json` for launch.py.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from genai_pipeline.core.errors import ClusterUnavailable, NotFound, NotReady, Refused
from genai_pipeline.local.state_files import locked, write_private
from genai_pipeline.local.supervision.program import (
    SUPERVISED_BY,
    ProcessInfo,
    Program,
    launch_file,
    process_info,
    program_config,
    supervisord_config,
    with_defaults,
)

__all__ = ["ProcessInfo", "Program", "Supervisor"]

STOPPED = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})
SOCKET_PATH_MAX = 96
"""Linux takes 107 bytes for a unix socket; supervisord binds `<path>.<pid>` first."""
RPC_TIMEOUT_S = 30.0
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")


class Supervisor:
    """Every method raises ClusterUnavailable when supervisord does not answer."""

    def __init__(self, home: Path) -> None:
        self.home = Path(home).absolute()
        self.socket = self.home / "supervisor.sock"
        self._programs = self.home / "supervisor.d"
        self._lock = self.home / "supervisor.lock"
        if len(os.fsencode(self.socket)) > SOCKET_PATH_MAX:
            raise Refused(
                f"The path {self.socket} is too long for a unix socket (at most {SOCKET_PATH_MAX} bytes).",
                "Set GENAI_HOME to a shorter path.",
            )

    # -- supervisord itself

    def is_running(self) -> bool:
        try:
            return self._call("supervisor.getState")["statename"] == "RUNNING"
        except ClusterUnavailable:
            return False

    def ensure_running(self, deadline_s: float = 15) -> None:
        """Start supervisord unless it answers. Safe to call from several processes, and after a crash."""
        if self.is_running():
            return
        self._programs.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self._lock):
            if self.is_running():
                return
            self._end_of_previous(deadline_s)
            self._end_orphans()
            config = self.home / "supervisord.conf"
            write_private(config, supervisord_config(self.home))
            started = subprocess.run(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
                cwd=self.home,
                env=with_defaults({}),
                capture_output=True,
                text=True,
                timeout=deadline_s,
                check=False,
            )
            if started.returncode != 0:
                raise ClusterUnavailable(
                    f"supervisord did not start: {started.stderr.strip() or started.stdout.strip()}",
                    f"See {self.home / 'supervisord.log'}.",
                )
            if not _until(self.is_running, deadline_s):
                raise ClusterUnavailable(
                    f"supervisord did not answer on {self.socket} within {deadline_s:.0f} s.",
                    f"See {self.home / 'supervisord.log'}.",
                )

    def shutdown(self, deadline_s: float = 60) -> None:
        """Stop every program and supervisord; whatever is left at the deadline is killed. Not running is fine."""
        pids = [info.pid for info in self._all_or_none() if info.pid]
        with suppress(ClusterUnavailable):
            self._call("supervisor.shutdown")
        ended = _until(lambda: self._pid() is None, deadline_s)
        supervisord = self._pid()
        for pid in [*pids, supervisord]:
            end_group(pid)
        if not ended and not _until(lambda: self._pid() is None, 5):
            raise NotReady(f"supervisord (pid {supervisord}) could not be ended.", f"End process {supervisord}.")
        self.socket.unlink(missing_ok=True)

    # -- programs

    def info(self, name: str) -> ProcessInfo | None:
        """The program's state, or None where supervisord does not know it."""
        try:
            return process_info(self._call("supervisor.getProcessInfo", name))
        except NotFound:
            return None

    def all(self) -> list[ProcessInfo]:
        return [process_info(raw) for raw in self._call("supervisor.getAllProcessInfo")]

    def start(self, program: Program) -> None:
        """Make `program` run as it is described. A running one whose description is the same is left alone."""
        self.add(program)
        info = self.info(program.name)
        if info is None or not (info.running or info.state == "BACKOFF"):
            self._call("supervisor.startProcess", program.name, False)

    def add(self, program: Program) -> None:
        """Make the program known without starting it; a changed one is stopped and replaced."""
        if not _NAME.match(program.name):
            raise Refused(f"{program.name!r} is not a program name.", "Use letters, digits, dot, dash, underscore.")
        program.log.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._lock):
            launch = launch_file(program, self.home)
            write_private(self._programs / f"{program.name}.json", launch)
            write_private(self._programs / f"{program.name}.conf", program_config(program, self._programs, launch))
            ((added, changed, _removed),) = self._call("supervisor.reloadConfig")
            if program.name in changed:
                self.stop(program.name)
                self._call("supervisor.removeProcessGroup", program.name)
            if program.name in changed or program.name in added:
                self._call("supervisor.addProcessGroup", program.name)

    def stop(self, name: str, wait: bool = True) -> None:
        """Send the stop signal, and SIGKILL after the program's `stop_wait_s`.

        With `wait`, return when the program has stopped; what it left of its process group is killed then.
        """
        info = self.info(name)
        if info is None:
            return
        if info.state not in STOPPED and info.state != "STOPPING":
            self._call("supervisor.stopProcess", name, False)
        if not wait:
            return
        if not _until(lambda: self._is_stopped(name), self._stop_deadline(name)):
            raise NotReady(f"{name} did not stop.", f"See {self.home / 'supervisord.log'}.")
        end_group(info.pid)

    def remove(self, name: str) -> None:
        """Stop the program and forget it; absent is fine."""
        self.stop(name)
        with locked(self._lock):
            for suffix in (".conf", ".json"):
                (self._programs / f"{name}{suffix}").unlink(missing_ok=True)
            with suppress(NotFound):
                self._call("supervisor.removeProcessGroup", name)
            self._call("supervisor.reloadConfig")

    # -- the rest

    def _call(self, method: str, *args: Any) -> Any:
        transport = _UnixTransport(str(self.socket))
        try:
            with xmlrpc.client.ServerProxy("http://localhost", transport=transport, allow_none=True) as proxy:
                return getattr(proxy, method)(*args)
        except xmlrpc.client.Fault as fault:
            return self._fault(fault, method, args)
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise ClusterUnavailable(
                f"supervisord does not answer on {self.socket} ({error}).", "Run `genai up`."
            ) from error

    def _fault(self, fault: xmlrpc.client.Fault, method: str, args: tuple[Any, ...]) -> None:
        reason = fault.faultString.split(":")[0]
        if reason in ("ALREADY_STARTED", "ALREADY_ADDED", "NOT_RUNNING"):
            return
        if reason == "BAD_NAME":
            raise NotFound(f"supervisord knows no program {args[0] if args else ''!r}.")
        remedy = f"See {self.home / 'supervisord.log'}."
        raise ClusterUnavailable(f"supervisord refused {method}{args}: {fault.faultString}.", remedy)

    def _all_or_none(self) -> list[ProcessInfo]:
        try:
            return self.all()
        except ClusterUnavailable:
            return []

    def _is_stopped(self, name: str) -> bool:
        info = self.info(name)
        return info is None or info.state in STOPPED

    def _stop_deadline(self, name: str) -> float:
        with suppress(OSError, ValueError):
            return json.loads((self._programs / f"{name}.json").read_text())["stop_wait_s"] + 10
        return 20

    def _pid(self) -> int | None:
        """The live supervisord of this home. Its pid file may name another program's process by now."""
        import psutil

        try:
            pid = int((self.home / "supervisord.pid").read_text())
            process = psutil.Process(pid)
            ours = str(self.home / "supervisord.conf") in process.cmdline()
            return pid if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (OSError, ValueError, psutil.Error):
            return None

    def _end_of_previous(self, deadline_s: float) -> None:
        """A supervisord that is shutting down still holds its programs: wait for it."""
        if not _until(lambda: self._pid() is None, deadline_s):
            raise ClusterUnavailable(
                f"supervisord (pid {self._pid()}) runs but does not answer on {self.socket}.",
                "Run `genai down`, then `genai up`.",
            )

    def _end_orphans(self) -> None:
        """Kill what a supervisord that died by SIGKILL left behind: it has no supervisor any more."""
        for pid in marked_processes(self.home):
            with suppress(ProcessLookupError, PermissionError):
                if os.getpgid(pid) != os.getpgrp():
                    os.kill(pid, signal.SIGKILL)


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=RPC_TIMEOUT_S)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(RPC_TIMEOUT_S)
        connection.sock.connect(self._path)
        return connection


def marked_processes(home: Path) -> list[int]:
    """Return the processes that carry this home's mark: all that supervisord keeps, and what outlived its parent."""
    import psutil

    found: list[int] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            marked = process.environ().get(SUPERVISED_BY) == str(home)
            if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def processes_below(pid: int | None) -> set[int]:
    """Return a process and all that it started, or an empty set without one."""
    import psutil

    with suppress(psutil.Error):
        if pid:
            return {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
    return set()


def end_group(pid: int | None) -> None:
    """Kill what an ended process left of its process group: vLLM's workers must not hold memory or ports."""
    with suppress(ProcessLookupError, PermissionError):
        if pid:
            os.killpg(pid, signal.SIGKILL)


def _until(condition: Callable[[], bool], deadline_s: float, interval_s: float = 0.05) -> bool:
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(interval_s)
    return True
