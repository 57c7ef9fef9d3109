"""Limits the memory of a staging: buffers for the bytes under way."""

from __future__ import annotations

import threading
from collections.abc import Callable

LOOK_EVERY_S = 1.0


class MemoryWindow:
    """Lends at most `size` bytes at once. Buffers of `usual` bytes are used again.

    A buffer that is larger than the whole window is lent alone.

    Args:
        waiting: called every second while there is no room; an error that it raises ends the wait.
    """

    def __init__(self, size: int, usual: int, waiting: Callable[[], None] = lambda: None) -> None:
        self._left, self._size, self._usual = size, size, usual
        self._free: list[bytearray] = []
        self._waiting = waiting
        self._changed = threading.Condition()

    def take(self, size: int) -> memoryview:
        """Return a buffer of `size` bytes, once there is room."""
        with self._changed:
            while self._left < size and self._left < self._size:
                if not self._changed.wait(LOOK_EVERY_S):
                    self._waiting()
            self._left -= size
            if size == self._usual and self._free:
                return memoryview(self._free.pop())
        return memoryview(bytearray(size))

    def give_back(self, buffer: memoryview) -> None:
        size, kept = buffer.nbytes, buffer.obj
        buffer.release()
        with self._changed:
            self._left += size
            if size == self._usual and isinstance(kept, bytearray):
                self._free.append(kept)
            self._changed.notify()
