"""Which loopback port each service gets: the one the user fixed, else the last one, else the usual, else a free one."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.profile import LOCAL_PORTS

HOST = "127.0.0.1"
CHOSEN = range(10_000, 20_000)
"""Where free ports are looked for: below those that the kernel gives to any program that asks for none by number."""
Address = tuple[str, int]


@dataclass(frozen=True)
class PortChoice:
    """`notes` has a sentence for every service that did not get its usual port."""

    ports: Mapping[str, int]
    notes: tuple[str, ...]


def port_variable(service: str) -> str:
    """The environment variable that fixes a service's port."""
    return f"GENAI_{service.upper()}_PORT"


def choose_ports(
    env: Mapping[str, str],
    remembered: Mapping[str, int],
    ours: frozenset[str],
    is_free: Callable[[int], bool],
    any_free: Callable[[], int],
    contested: bool = False,
) -> PortChoice:
    """Choose a port for every service of the local profile.

    Args:
        remembered: what the services got last time.
        ours: services that run now, on their remembered port.
        contested: whether another program took a port meanwhile. A second installation takes the usual ones in order.

    Raises: Refused: a port that the user fixed is not a port, or another program holds it.
    """
    ports: dict[str, int] = {}
    notes: list[str] = []
    for service, usual in LOCAL_PORTS.items():
        fixed = _fixed(env, service)
        last = remembered.get(service)
        if service in ours and last is not None and fixed in (None, last):
            ports[service] = last
            continue
        if fixed is not None and not is_free(fixed):
            raise Refused(
                f"Port {fixed} ({port_variable(service)}) is taken by {holder_of(fixed)}.",
                f"End that program, or set {port_variable(service)} to another port or to nothing.",
            )
        habits = () if contested else (last, usual)
        wanted = [p for p in (habits if fixed is None else (fixed,)) if p is not None]
        free = next((p for p in wanted if p not in ports.values() and is_free(p)), None)
        ports[service] = free if free is not None else any_free()
        if free is None and wanted:
            notes.append(
                f"Port {wanted[0]} is taken by {holder_of(wanted[0])}: {service} listens on {ports[service]} instead. "
                f"Fix it with {port_variable(service)}."
            )
    return PortChoice(ports, tuple(notes))


def is_free(port: int) -> bool:
    """Return whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)  # SO_REUSEADDR lets two sockets bind as long as none of them listens
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a loopback port that no program holds now."""
    return free_ports(1)[0]


def free_ports(count: int, apart_from: Collection[int] = ()) -> list[int]:
    """Return several loopback ports that no program holds now.

    Args:
        apart_from: ports that are promised to a program which has not started yet.
    """
    candidates = (port for port in random.sample(CHOSEN, len(CHOSEN)) if port not in apart_from and is_free(port))
    return list(islice(candidates, count))


def listening() -> dict[Address, int | None]:
    """Return every TCP address on which a process listens, with its pid where we may see it."""
    import psutil

    with suppress(psutil.Error, OSError):
        found = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
        return {(c.laddr.ip, c.laddr.port): c.pid for c in found if c.laddr}
    return {}


def holder_of(port: int) -> str:
    """Describe the program that listens on the port: name and pid where we may see them."""
    holders = [pid for (_, held), pid in listening().items() if held == port]
    return _described(holders[0]) if holders else "another program"


def _described(pid: int | None) -> str:
    import psutil

    if pid is None:
        return "another user's program"
    with suppress(psutil.Error):
        return f"{psutil.Process(pid).name()} (pid {pid})"
    return f"pid {pid}"


def _fixed(env: Mapping[str, str], service: str) -> int | None:
    text = env.get(port_variable(service), "").strip()
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Refused(f"{port_variable(service)}={text!r} is not a port.", "Use a number from 1 to 65535.")
    return int(text)
