"""Bounds for reading the body of an HTTP answer.

The time-outs of HTTP clients count from the last byte. A server that sends one byte now and then is waited for without
end. Two bounds prevent that: `MinimumRate` for files of any size, `whole_within` for the answers of an API.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

SLOWEST_BYTES_PER_S = 32 * 1024
_BEGAN_S = "genai_began_s"


class TooSlow(Exception):
    """A body came more slowly than its `MinimumRate` allows."""


class MinimumRate:
    """A lower bound for the mean rate of one body. Only the time spent waiting for bytes counts.

    Args:
        grace_s: seconds of waiting before the bound applies.
        bytes_per_s: the bound.
        clock: seconds, monotonic.
    """

    def __init__(
        self, grace_s: float, bytes_per_s: float = SLOWEST_BYTES_PER_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace_s, self._bytes_per_s, self._clock = grace_s, bytes_per_s, clock
        self._received, self._waited_s = 0, 0.0

    def read(self, read: Callable[[], bytes]) -> bytes:
        """Return what one call of `read` returns; empty bytes are the end of the body.

        Raises: TooSlow: the bytes are here, but all of them together came too slowly. What `read` raises.
        """
        began = self._clock()
        chunk = read()
        self._received += len(chunk)
        self._waited_s += self._clock() - began
        if chunk and self._waited_s > self._grace_s and self._received < self._bytes_per_s * self._waited_s:
            raise TooSlow(f"it sent no more than {self._received} bytes in {self._waited_s:.0f} s")
        return chunk


def whole_within(timeout_s: float, clock: Callable[[], float] = time.monotonic) -> dict[str, list[Any]]:
    """Return `event_hooks` for an httpx client: each whole answer must be there `timeout_s` after its request began.

    Reading a later byte raises httpx.ReadTimeout.
    """
    import httpx  # slow to import; only those who use it pay for it

    class Until(httpx.SyncByteStream):
        def __init__(self, inner: httpx.SyncByteStream, request: httpx.Request) -> None:
            self._inner, self._request = inner, request

        def __iter__(self) -> Iterator[bytes]:
            for part in self._inner:
                if clock() > self._request.extensions[_BEGAN_S] + timeout_s:
                    raise httpx.ReadTimeout(f"the answer did not end within {timeout_s:g} s", request=self._request)
                yield part

        def close(self) -> None:
            self._inner.close()

    def begin(request: httpx.Request) -> None:
        request.extensions = {**request.extensions, _BEGAN_S: clock()}

    def bound(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = Until(response.stream, response.request)

    return {"request": [begin], "response": [bound]}
