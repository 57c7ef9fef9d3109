"""A time-out for a whole answer. httpx has one for each read only: one that drips would be waited for without end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx


def whole_within(timeout_s: float) -> Callable[[httpx.Response], None]:
    """A `response` hook for a httpx.Client: reading the body ends with httpx.ReadTimeout so long after its head."""

    def bound(response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.SyncByteStream)
        response.stream = _Until(response.stream, time.monotonic() + timeout_s, response.request)

    return bound


class _Until(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, ends_at: float, request: httpx.Request) -> None:
        self._inner, self._ends_at, self._request = inner, ends_at, request

    def __iter__(self) -> Iterator[bytes]:
        for part in self._inner:
            if time.monotonic() > self._ends_at:
                raise httpx.ReadTimeout("the answer was not whole in time", request=self._request)
            yield part

    def close(self) -> None:
        self._inner.close()
