"""Stop everything of the local profile and prove that it is gone. State is kept."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from genai_pipeline.core.errors import ClusterUnavailable, GenaiError, NotReady
from genai_pipeline.core.profile import LOCAL_PORTS
from genai_pipeline.gateways.dagster_api import DagsterApi, Run
from genai_pipeline.local.installation import Installation
from genai_pipeline.local.ports import Address, listening
from genai_pipeline.local.start import running_services
from genai_pipeline.local.supervision.supervisor import STOPPED, Supervisor, end_group, marked_processes
from genai_pipeline.rollout.record.records import Records

STOP_S = 8.0
SHUTDOWN_S = 3.0
KILL_S = 4.0


def stop_services(
    installation: Installation, say: Callable[[str], None], on_cancelled: Callable[[Run], None] = lambda run: None
) -> None:
    """Stop every pod and service within 15 s. Nothing running is fine.

    As at the shutdown of a machine no preStop hook runs, and what is left of a request is cut off after 8 s.

    Args:
        on_cancelled: called with each run that is ended, while the store still answers.
    Raises: NotReady: something is left, by name.
    """
    supervisor = Supervisor(installation.home)
    running = running_services(supervisor)
    pids = marked_processes(installation.home)
    addresses = [address for address, pid in listening().items() if pid in pids]
    if running:
        _end_runs(installation, say, on_cancelled)
        _stop_all(supervisor, say)
    supervisor.shutdown(deadline_s=SHUTDOWN_S)
    _kill_the_rest(installation, say)
    left = _left_after(KILL_S, installation, addresses)
    if left:
        raise NotReady(f"Still there: {'; '.join(left)}.", "End them, then run `genai down` again.")


def processes_of(installation: Installation) -> list[str]:
    """Return name and pid of the processes that carry this home's mark, those that outlived their parent included."""
    return [f"{_name(pid)} (pid {pid})" for pid in marked_processes(installation.home)]


def _end_runs(installation: Installation, say: Callable[[str], None], on_cancelled: Callable[[Run], None]) -> None:
    """A run whose process we are about to end would stay `started` in Dagster for ever."""
    port = installation.ports().get("dagster", LOCAL_PORTS["dagster"])
    api = DagsterApi(f"http://127.0.0.1:{port}", timeout_s=2)
    with suppress(GenaiError):
        for run in api.unfinished_runs():
            api.cancel(run.id)
            say(f"cancelled the run {run.id[:8]} of {run.release or run.job}")
            with suppress(GenaiError):
                on_cancelled(run)


def give_back_attempt(records: Records, run: Run) -> None:
    """Let the attempt of a cancelled rollout not count: the user ended it, and not the release.

    Raises: NotFound, StoreUnavailable: the attempt counts.
    """
    if run.model and run.release and (attempt := run.attempt):
        what = f"attempt {attempt} ended with the services"
        records.update(run.model, run.release, lambda record: record.interrupted(attempt), what)


def _stop_all(supervisor: Supervisor, say: Callable[[str], None]) -> None:
    """The cluster's daemon first, else it starts the pods again; then all at once: supervisord goes one by one."""
    end = time.monotonic() + STOP_S
    with suppress(ClusterUnavailable, NotReady):
        supervisor.stop("cluster")
        names = [info.name for info in supervisor.all() if info.state not in STOPPED]
        for name in names:
            supervisor.stop(name, wait=False)
        say(f"stopping {', '.join(sorted(names)) or 'supervisord'}")
        while time.monotonic() < end and any(info.state not in STOPPED for info in supervisor.all()):
            time.sleep(0.1)
        for info in supervisor.all():
            if info.state not in STOPPED:
                say(f"killing {info.name}, which did not end within {STOP_S:g} s")
                end_group(info.pid)


def _kill_the_rest(installation: Installation, say: Callable[[str], None]) -> None:
    for pid in marked_processes(installation.home):
        say(f"killing {_name(pid)} (pid {pid}), which did not end by itself")
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _left_after(deadline_s: float, installation: Installation, addresses: Sequence[Address]) -> list[str]:
    """Wait for the end of what was killed: a large process keeps its ports until its memory is given back."""
    end = time.monotonic() + deadline_s
    while (left := [*processes_of(installation), *_still_open(addresses)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def _name(pid: int) -> str:
    import psutil

    with suppress(psutil.Error):
        return " ".join(psutil.Process(pid).cmdline())[:80]
    return "a process"


def _still_open(addresses: Sequence[Address]) -> list[str]:
    now = listening()
    return [f"{host}:{port}, held by pid {now[host, port]}" for host, port in addresses if (host, port) in now]
