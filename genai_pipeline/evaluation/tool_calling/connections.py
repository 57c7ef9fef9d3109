"""Connections that outlive a stream.

The openai client leaves a stream at `[DONE]`, a packet before its end, and httpx then throws the connection away: every
streamed answer would cost a new one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import cache

import httpx

_LAST = b"[DONE]"
_REST_S = 0.2
"""The rest is on its way; longer is no bargain against a new connection."""


class KeptConnections(httpx.AsyncBaseTransport):
    """httpx's transport for up to `limit` connections, whose streams are read to their end."""

    def __init__(self, limit: int) -> None:
        limits = httpx.Limits(max_connections=limit, max_keepalive_connections=limit)
        self._inner = httpx.AsyncHTTPTransport(verify=_trust(), limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _ReadToItsEnd(response.stream)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


@cache
def _trust() -> ssl.SSLContext:
    """Read once: certifi's list takes 60 ms."""
    return httpx.create_ssl_context()


class _ReadToItsEnd(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream) -> None:
        self._inner, self._parts, self._tail = inner, aiter(inner), b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._parts:
            self._tail = (self._tail + part)[-len(_LAST) - 4 :]
            yield part

    async def aclose(self) -> None:
        if _LAST in self._tail:
            with suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(_REST_S):
                    async for _ in self._parts:
                        pass
        await self._inner.aclose()
