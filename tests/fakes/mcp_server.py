"""A real MCP server, made with the mcp package: over streamable HTTP within this process, or as a process over stdio.

with HttpMcpServer() as server: ...            # server.url
python tests/fakes/mcp_server.py               # over stdio
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from mcp.server.mcpserver import MCPServer

TOOLS = ("add", "shout", "flood", "fail", "sleep", "secret", "environment")


def build() -> MCPServer:
    server = MCPServer("numbers")

    @server.tool()
    def add(a: int, b: int) -> str:
        """Add two numbers."""
        return str(a + b)

    @server.tool()
    def shout(text: str = "nothing") -> str:
        """Say it in capitals."""
        return text.upper()

    @server.tool()
    def flood() -> str:
        """Say a lot."""
        return "x" * 1_000_000

    @server.tool()
    def fail() -> str:
        """Fail."""
        raise ValueError("this tool always fails")

    @server.tool()
    def sleep(seconds: float) -> str:
        """Take long."""
        time.sleep(seconds)
        return "awake"

    @server.tool()
    def secret() -> str:
        """Not for models."""
        return "the secret"

    @server.tool()
    def environment() -> str:
        """The names of its environment's variables."""
        return " ".join(sorted(os.environ))

    return server


class HttpMcpServer:
    """Serves on a free loopback port, or again on one it had. Streamable HTTP at `url`."""

    def __init__(self, port: int = 0) -> None:
        import uvicorn

        from genai_pipeline.agent.server import listen

        self._listener = listen("127.0.0.1", port)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        app: Any = build().streamable_http_app()
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=0))

    def __enter__(self) -> HttpMcpServer:
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(timeout=10)
        self._listener.close()


if __name__ == "__main__":
    build().run()
