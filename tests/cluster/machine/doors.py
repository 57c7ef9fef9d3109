"""The doors of one cluster: each is a loopback port of this machine that leads to an address in the node's network."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from tests.cluster.machine import programs
from tests.cluster.machine.waiting import until


def opened(folder: Path, inside: int, name: str, host: str, port: int) -> int:
    """Open the door of that name, or find the one that is open; returns its port.

    Args:
        folder: the cluster's.
        inside: a process that lives in the node's network.
    """
    doors = folder / "doors"
    doors.mkdir(exist_ok=True)
    known = _known(doors / f"{name}.json")
    if known and known["to"] == [host, port] and programs.born(known["pid"]) == known["created"]:
        return known["port"]
    _close(known)
    announced = doors / f"{name}.port"
    announced.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.cluster.machine.door", str(inside), host, str(port), str(announced)]
    pid = programs.start(command, doors / f"{name}.log")
    state = {"pid": pid, "created": programs.born(pid), "to": [host, port]}
    (doors / f"{name}.json").write_text(json.dumps(state | {"port": 0}))
    state["port"] = int(until(lambda: announced.exists() and announced.read_text(), f"the door to {name}"))
    (doors / f"{name}.json").write_text(json.dumps(state))
    return state["port"]


def close(folder: Path) -> None:
    """End the processes of all doors."""
    for file in (folder / "doors").glob("*.json"):
        _close(_known(file))


def _close(known: dict[str, Any] | None) -> None:
    if known:
        programs.end(known["pid"], known["created"], signal.SIGTERM)


def _known(file: Path) -> dict[str, Any] | None:
    try:
        return json.loads(file.read_text())
    except (FileNotFoundError, ValueError):
        return None
