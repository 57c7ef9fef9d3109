"""Serve the application. On SIGTERM, finish the requests under way and begin no new ones."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import uvicorn

from genai_pipeline.agent.app import create_app
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than the sixty seconds of most proxies: the side that closes an idle connection second loses no request."""
READER_S = 60
"""A connection is closed when its client takes nothing of an answer for so long. The kernel does it."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a request's headers."""
LAST_WORDS_S = 1.0
"""At the end, open connections may still send a request for so long. A second one on the same connection gets 503."""

logger = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address is in use, or it does not belong to this machine."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises: CannotListen; otherwise the error that kept the service from starting after it listened.
    """
    listener = listen(settings.host, settings.port)
    server = AgentServer(AgentService(settings))
    port = listener.getsockname()[1]
    logger.warning("host=<%s>, port=<%s>, model=<%s> | serving", settings.host, port, settings.model)
    server.run(sockets=[listener])
    if server.service.failure:
        raise server.service.failure


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket, so that a port in use is found before anything else. Raises: CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(str(error)) from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READER_S * 1000)
    return listener


class AgentServer(uvicorn.Server):
    """uvicorn with another shutdown: its own refuses connections while requests under way are finished."""

    def __init__(self, service: AgentService) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(service),
                http="h11",  # answers an offer of HTTP/2 in HTTP/1.1; httptools would lose the body of such a request
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
                log_level="error",  # its warnings are about single requests: an offer of HTTP/2, a malformed one
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,
                ws="none",
            )
        )
        self.service = service
        self._told = False
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = [listener.dup() for listener in sockets or []]
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """End a service that could not start."""
        return await super().on_tick(counter) or self.service.failure is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first signal; end at once on a second SIGINT."""
        if self._told and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        elif self._loop is None:
            self.should_exit = True
        else:
            self._told = True
            self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        if self._drain is None:
            clients = (getattr(connection, "client", None) for connection in self.server_state.connections)
            self.service.leave(filter(None, clients))
            self._drain = asyncio.ensure_future(self._finish())

    async def _finish(self) -> None:
        deadline = time.monotonic() + self.service.settings.drain_deadline_s
        left = await self.service.drain(deadline - time.monotonic())
        await self._stop_listening()
        ends_at = time.monotonic() + LAST_WORDS_S
        while self.server_state.connections and time.monotonic() < ends_at:
            await asyncio.sleep(0.02)
        left += await self.service.drain(deadline - time.monotonic())  # what kept connections still brought
        logger.warning("unfinished=<%d> | stopped", left)
        self.should_exit = True

    async def _stop_listening(self) -> None:
        """Accept what the kernel has accepted already: closing the socket would reset those connections."""
        for server in self.servers:
            server.close()
        for listener in self._listeners:
            listener.setblocking(False)
            while connection := _accepted(listener):
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
            listener.close()

    def _protocol(self) -> asyncio.Protocol:
        protocol: Any = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _accepted(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except BlockingIOError:
        return None
