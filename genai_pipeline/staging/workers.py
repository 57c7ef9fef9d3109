"""Threads that a process which is told to end does not wait for.

concurrent.futures joins its threads before the interpreter exits, and one that waits for a server which says nothing
may take minutes. These are daemons: what they were sending stays unfinished, as after any kill, and is continued.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

Task = Callable[[], object]


class Workers:
    """`count` threads that take tasks in the order they are submitted; a task must not raise."""

    def __init__(self, count: int, name: str) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        self._tasks.put(task)

    def end(self, wait: bool) -> None:
        """Forget what has not begun; wait for what has, if asked to."""
        try:
            while True:
                self._tasks.get_nowait()
        except Empty:
            pass
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
