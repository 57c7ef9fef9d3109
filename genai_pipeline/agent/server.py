"""Serve the application, and end politely: on SIGTERM what is under way is finished and nothing new is begun."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from typing import TYPE_CHECKING

import uvicorn

from genai_pipeline.agent.app import create_app
from genai_pipeline.agent.service import AgentService
from genai_pipeline.agent.settings import Settings
from genai_pipeline.agent.wire import AgentProtocol

if TYPE_CHECKING:
    from types import FrameType

BACKLOG = 2048
KEEP_ALIVE_S = 75
"""Longer than the sixty seconds of most proxies: who ends an idle connection second loses no request by it."""
LAST_WORDS_S = 1.0
"""How long connections that are open at the end may still bring a request, to be told where to go."""

logger = logging.getLogger(__name__)


class CannotListen(Exception):
    """The address is taken, or not this machine's."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises: CannotListen. What kept the service from starting, after it listened.
    """
    listener = listen(settings.host, settings.port)
    server = AgentServer(AgentService(settings))
    port = listener.getsockname()[1]
    logger.warning("host=<%s>, port=<%s>, model=<%s> | serving", settings.host, port, settings.model)
    server.run(sockets=[listener])
    if server.service.failure:
        raise server.service.failure


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is known before anything else is done. Raises: CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise CannotListen(str(error)) from error


class AgentServer(uvicorn.Server):
    """uvicorn, with an end of our own: it would refuse connections while what is under way is finished."""

    def __init__(self, service: AgentService) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(service),
                http=AgentProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=1,
                ws="none",
            )
        )
        self.service = service
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._listeners = [listener.dup() for listener in sockets or []]
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """A service that could not start ends."""
        return await super().on_tick(counter) or self.service.failure is not None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, a second SIGINT ends at once."""
        if self.service.draining.is_set() and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        elif self._loop is None:
            self.should_exit = True
        else:
            self.service.draining.set()
            self._loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        if self._drain is None:
            self._drain = asyncio.ensure_future(self._finish())

    async def _finish(self) -> None:
        left = await self.service.drain(self.service.settings.drain_deadline_s)
        await self._stop_listening()
        ends_at = time.monotonic() + LAST_WORDS_S
        while self.server_state.connections and time.monotonic() < ends_at:
            await asyncio.sleep(0.02)
        logger.warning("unfinished=<%d> | stopped", left)
        self.should_exit = True

    async def _stop_listening(self) -> None:
        """Take in what the kernel has accepted already; closing a socket under it would reset those connections."""
        for server in self.servers:
            server.close()
        for listener in self._listeners:
            listener.setblocking(False)
            while connection := _accepted(listener):
                await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
            listener.close()

    def _protocol(self) -> AgentProtocol:
        return AgentProtocol(self.config, self.server_state, self.lifespan.state)


def _accepted(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except BlockingIOError:
        return None
