"""Processes of one test module: started with a log each, waited for, ended by their ids."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.machine.cluster import until


@dataclass
class Processes:
    """Each runs in a process group of its own, so that its children end with it."""

    folder: Path
    environment: Mapping[str, str]
    _running: list[tuple[str, subprocess.Popen[bytes]]] = field(default_factory=list)

    def start(
        self,
        name: str,
        command: Sequence[str],
        answers: Callable[[], bool],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it and wait until it answers. Raises TimeoutError with its last log lines."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment, **(environment or {})},
                start_new_session=True,
            )
        self._running.append((name, process))
        try:
            until(answers, name)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.log(name)}") from error

    def log(self, name: str, lines: int = 40) -> str:
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        return "\n".join([f"--- {name}", *text.splitlines()[-lines:]])

    def logs(self) -> str:
        return "\n".join(self.log(name) for name, _ in self._running)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all processes of that name."""
        for known, process in self._running:
            if known == name:
                os.killpg(process.pid, number)

    def end(self, *names: str) -> None:
        """End those of these names, or all, last first."""
        ends = [one for one in self._running if not names or one[0] in names]
        for _, process in reversed(ends):
            _end(process)
        self._running = [one for one in self._running if one not in ends]


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
