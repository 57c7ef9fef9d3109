"""A Service's port on this machine: TCP to the ready pods its selector picks.

Unlike kube-proxy it looks for the ends of HTTP/1.1 messages, so that a keep-alive connection follows the
selector too: a request that arrives while the connection is at rest goes to a pod that is selected and ready
at that moment, over a new connection to it where the present one belongs to another pod, was closed by it, or
has been at rest for over a second (the pod may be about to close it). Requests in flight finish where they
are. What is not HTTP/1.1 stays with its pod, as with kube-proxy. See README.md.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from genai_pipeline.gateways.cluster.local.http_framing import Exchange

CHUNK = 64 * 1024
CONNECT_TIMEOUT_S = 2.0
REUSE_S = 1.0

Backend = tuple[str, int]


class Forwarder:
    """One listening port. It listens only while there is a backend, so that connecting fails at once otherwise."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.backends: Sequence[Backend] = ()
        self._next = 0
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def set_backends(self, backends: Sequence[Backend]) -> None:
        """Choose among these from now on. Raises OSError: the port is taken."""
        self.backends = backends
        if backends and self._server is None:
            reserved = self._reserve()
            self._reserved = None
            try:
                self._server = await asyncio.start_server(self._accept, sock=reserved)
            except OSError:
                reserved.close()
                raise
        elif not backends:
            self._stop_listening()
            self._reserve()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._stop_listening()
        if self._reserved:
            self._reserved.close()
        for connection in self._connections:
            connection.cancel()

    def release(self) -> None:
        """Stop listening; connections go on."""
        self._stop_listening()
        if self._reserved:
            self._reserved.close()
            self._reserved = None

    async def connect(self) -> tuple[Backend, asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next backend that takes one."""
        tried: set[Backend] = set()
        while remaining := [b for b in self.backends if b not in tried]:
            self._next += 1
            backend = remaining[self._next % len(remaining)]
            tried.add(backend)
            with suppress(OSError, TimeoutError):
                opening = asyncio.open_connection(*backend, limit=CHUNK)
                return backend, *await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
        return None

    def _reserve(self) -> socket.socket:
        """Hold the port without listening: nobody else takes it, and a client is refused."""
        if self._reserved is None:
            # asyncio sets TCP_NODELAY only on sockets that name their protocol; without it a token waits 40 ms.
            self._reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._reserved.bind((self.host, self.port))
            except OSError:
                self._reserved.close()
                self._reserved = None
                raise
        return self._reserved

    def _stop_listening(self) -> None:
        if self._server:
            self._server.close()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            await _Connection(self, reader, writer).run()
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._connections.discard(task)


class _Connection:
    """One client's connection and the backend connection it has at the moment."""

    def __init__(self, forwarder: Forwarder, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._forwarder = forwarder
        self._reader, self._writer = reader, writer
        self._exchange = Exchange()
        self._backend: Backend | None = None
        self._to_backend: asyncio.StreamWriter | None = None
        self._from_backend: asyncio.Task[None] | None = None
        self._resting_since = time.monotonic()

    async def run(self) -> None:
        try:
            if await self._open():
                await self._requests()
                if self._from_backend:
                    await self._from_backend
            else:
                self._writer.transport.abort()
        finally:
            await self._leave_backend()
            self._writer.close()

    async def _requests(self) -> None:
        """Client to backend, until the client has sent its last byte."""
        while data := await self._reader.read(CHUNK):
            if self._exchange.at_rest and not self._can_stay() and not await self._open():
                self._writer.transport.abort()
                return
            if self._to_backend is None:  # it ended in the middle; the client has been told
                return
            self._exchange.feed_request(data)
            self._to_backend.write(data)
            with suppress(ConnectionError):  # the backend's side of it tells the client
                await self._to_backend.drain()
        if self._exchange.at_rest:
            await self._leave_backend()
        elif self._to_backend and self._to_backend.can_write_eof():
            with suppress(OSError):
                self._to_backend.write_eof()

    def _can_stay(self) -> bool:
        fresh = not self._exchange.answered or time.monotonic() - self._resting_since < REUSE_S
        return self._to_backend is not None and self._backend in self._forwarder.backends and fresh

    async def _open(self) -> bool:
        await self._leave_backend()
        connected = await self._forwarder.connect()
        if connected is None:
            return False
        self._backend, reader, self._to_backend = connected
        self._from_backend = asyncio.create_task(self._responses(reader, self._to_backend))
        return True

    async def _responses(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Backend to client, until the backend has sent its last byte."""
        try:
            while data := await reader.read(CHUNK):
                self._exchange.feed_response(data)
                self._resting_since = time.monotonic()
                self._writer.write(data)
                await self._writer.drain()
        except ConnectionError:
            self._writer.transport.abort()
            return
        finally:
            writer.close()
            self._to_backend = None
        self._backend_ended()

    def _backend_ended(self) -> None:
        exchange = self._exchange
        if exchange.at_rest and exchange.answered:
            return  # an idle keep-alive that the backend gave up: the next request gets another
        if exchange.ends_at_close or exchange.all_answered:
            self._writer.close()
        else:
            self._writer.transport.abort()

    async def _leave_backend(self) -> None:
        task, self._from_backend = self._from_backend, None
        if task:
            task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await task
