"""The tools of MCP servers. A server that cannot be reached costs only its own tools, never the service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from genai_pipeline.agent.tools.mcp_spec import McpServerSpec

START_S = 3.0
"""The first sessions wait at most so long for the servers. Later sessions also get tools that came later."""


class McpServers:
    """Use it within one event loop. Without servers it does nothing and imports nothing."""

    def __init__(self, specs: Sequence[McpServerSpec], timeout_s: float) -> None:
        self._specs, self._timeout_s = tuple(specs), timeout_s
        self._servers: list[Any] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to connect. Return when each server was tried once, or after START_S."""
        if not self._specs:
            return
        from genai_pipeline.agent.tools.mcp_server import McpServer

        self._servers = [McpServer(spec, self._timeout_s) for spec in self._specs]
        self._tasks = [asyncio.create_task(server.keep_connected()) for server in self._servers]
        with suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await asyncio.gather(*(server.tried.wait() for server in self._servers))

    @property
    def tool_names(self) -> frozenset[str]:
        """The names of all tools that may be called, whether or not their server is connected."""
        return frozenset(tool for spec in self._specs for tool in spec.tools)

    def tools(self) -> list[Any]:
        """Return the tools, in Strands' form, of each server that was connected at least once."""
        return [tool for server in self._servers for tool in server.tools.values()]

    def problems(self) -> list[str]:
        """Return one sentence for each server with a problem."""
        return [server.problem for server in self._servers if server.problem]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
