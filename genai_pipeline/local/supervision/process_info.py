"""What supervisord says of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RUNNING = frozenset({"STARTING", "RUNNING"})


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord says of a program. Times are Unix seconds, 0 for never.

    `state` is supervisord's: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL, UNKNOWN.
    `exit_status` is -1 after a signal and None while it runs.
    """

    name: str
    state: str
    pid: int | None
    exit_status: int | None
    started_at: float
    stopped_at: float
    description: str

    @property
    def running(self) -> bool:
        return self.state in RUNNING


def process_info(raw: Mapping[str, Any]) -> ProcessInfo:
    """Return what supervisord's reply of getProcessInfo says."""
    ended = raw["statename"] in ("EXITED", "STOPPED", "FATAL") and raw["stop"]
    return ProcessInfo(
        name=raw["name"],
        state=raw["statename"],
        pid=raw["pid"] or None,
        exit_status=raw["exitstatus"] if ended else None,
        started_at=float(raw["start"]),
        stopped_at=float(raw["stop"]),
        description=raw["spawnerr"] or raw["description"],
    )
