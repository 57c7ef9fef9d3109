"""Read something again and again beside a load, in a thread of its own."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self


class RepeatedReading(ABC):
    """Calls `_read` every `every_s` seconds in its own thread, until its `with` block ends."""

    def __init__(self, name: str, every_s: float, waits_first: bool = False) -> None:
        """Args: name: of the thread. waits_first: the first reading comes after `every_s`, not at once."""
        self._every_s = every_s
        self._waits_first = waits_first
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=30)

    @abstractmethod
    def _read(self) -> None:
        """Take one reading."""

    def _run(self) -> None:
        if self._waits_first:
            self._stopped.wait(self._every_s)
        while not self._stopped.is_set():
            self._read()
            self._stopped.wait(self._every_s)
