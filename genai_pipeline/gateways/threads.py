"""Threads that do not keep a process from ending.

concurrent.futures joins its threads before the interpreter exits. A thread that waits for a silent server may take
minutes. The threads here are daemons. The next run continues a transfer that they leave unfinished, as after a kill.
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
    """`count` threads that run tasks in the order of their submission.

    Use as a context manager. Leaving it drops the tasks that have not begun, and waits for those that have. After an
    error it waits at most ENDING_S; after an interrupt (which is not an Exception) it does not wait.
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

    def submit(self, task: Callable[[], Result]) -> Future[Result]:
        result: Future[Result] = Future()
        self._tasks.put(partial(_settle, result, task))
        return result

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()


def each(function: Callable[[Item], Result], items: Sequence[Item], at_once: int, name: str) -> list[Result]:
    """Return the results in the order of `items`. Raise the first error, once the tasks under way have ended."""
    with Workers(min(at_once, len(items)), name) as workers:
        results = [workers.submit(partial(function, item)) for item in items]
        return [result.result() for result in results]


def in_background(task: Callable[[], Result], name: str) -> Future[Result]:
    """Run one task in a thread of its own."""
    result: Future[Result] = Future()
    threading.Thread(target=_settle, args=(result, task), name=name, daemon=True).start()
    return result


def _settle(result: Future[Result], task: Callable[[], Result]) -> None:
    try:
        result.set_result(task())
    except BaseException as error:
        result.set_exception(error)
