"""Threads that a process which is told to end does not wait for.

concurrent.futures joins its threads before the interpreter exits, and one that waits for a server which says nothing
may take minutes. These are daemons: what they were sending stays unfinished, as after any kill, and is continued.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

ENDING_S = 60.0

Item = TypeVar("Item")
Result = TypeVar("Result")
Task = Callable[[], object]


class Workers:
    """`count` threads that take tasks in the order they are submitted; a task must not raise.

    Use as a context manager. Leaving it forgets what has not begun, and waits for what has: after an error no longer
    than ENDING_S, and not at all where this process is told to end (an interrupt, which is no Exception).
    """

    def __init__(self, count: int, name: str) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{n}", daemon=True) for n in range(1, count + 1)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            while True:
                self._tasks.get_nowait()
        except Empty:
            pass
        for _thread in self._threads:
            self._tasks.put(None)
        if kind is None or issubclass(kind, Exception):
            end = time.monotonic() + ENDING_S
            for thread in self._threads:
                thread.join(None if kind is None else max(0.0, end - time.monotonic()))

    def submit(self, task: Task) -> None:
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def each(function: Callable[[Item], Result], items: Sequence[Item], at_once: int, name: str) -> list[Result]:
    """The results in the order of `items`. Raises the first error, once what was under way has ended."""
    results: list[Future[Result]] = [Future() for _ in items]
    with Workers(min(at_once, len(items)), name) as workers:
        for item, result in zip(items, results, strict=True):
            workers.submit(partial(_settle, result, function, item))
        return [result.result() for result in results]


def _settle(result: Future[Result], function: Callable[[Item], Result], item: Item) -> None:
    try:
        result.set_result(function(item))
    except BaseException as error:
        result.set_exception(error)
