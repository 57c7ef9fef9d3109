"""One port of a Service on this machine: TCP to the pods behind the Service, as kube-proxy does it.

A new connection goes to one of the present pods. From then on it stays with that pod, also when the selector moves.
Only bytes pass: nothing is parsed, and the end of each direction and back-pressure go through.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress

CHUNK = 64 * 1024
CONNECT_TIMEOUT_S = 10.0
"""Longer than the second and third try of the kernel (1 s, 3 s), with which it reaches a pod whose queue was full."""
BACKLOG = 1024

Backend = tuple[str, int]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


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
        """Choose among these for new connections. Raises OSError: the port is taken."""
        self.backends = backends
        if backends and self._server is None:
            reserved = self._reserve()
            self._reserved = None
            try:
                self._server = await asyncio.start_server(self._accept, sock=reserved, limit=CHUNK, backlog=BACKLOG)
            except OSError:
                reserved.close()
                raise
        elif not backends:
            self._stop_listening()
            self._reserve()

    def close(self) -> None:
        """Stop listening and end every connection."""
        self.release()
        for connection in self._connections:
            connection.cancel()

    def release(self) -> None:
        """Stop listening; connections go on."""
        self._stop_listening()
        if self._reserved:
            self._reserved.close()
            self._reserved = None

    def _reserve(self) -> socket.socket:
        """Hold the port without listening: no other program takes it, and a client is refused."""
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
            pod = await self._connect()
            if pod is None:
                writer.transport.abort()
            else:
                await _join((reader, writer), pod)
        except asyncio.CancelledError:
            writer.transport.abort()  # `close` ends this connection
        finally:
            self._connections.discard(task)

    async def _connect(self) -> Stream | None:
        """Return a connection to the next backend that accepts one."""
        tried: set[Backend] = set()
        while remaining := [b for b in self.backends if b not in tried]:
            self._next += 1
            backend = remaining[self._next % len(remaining)]
            tried.add(backend)
            with suppress(OSError, TimeoutError):
                return await asyncio.wait_for(asyncio.open_connection(*backend, limit=CHUNK), CONNECT_TIMEOUT_S)
        return None


async def _join(client: Stream, pod: Stream) -> None:
    """Pass bytes both ways until both have sent their last one. A reset of one side resets the other."""
    writers = client[1], pod[1]
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_pump(client[0], pod[1]))
            directions.create_task(_pump(pod[0], client[1]))
    except* OSError:
        for writer in writers:
            writer.transport.abort()
    finally:
        for writer in writers:
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
