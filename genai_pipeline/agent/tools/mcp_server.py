"""One MCP server: connect to it by Strands' client, connect again when it was lost, and cut its replies to size.

Strands' client starts, stops and lists tools with blocking calls, and some of them have no deadline. They run in daemon
threads here, so a server that hangs blocks neither the event loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import httpx2
from mcp import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from strands.tools.mcp import MCPAgentTool, MCPClient
from strands.types.events import ToolResultEvent
from strands.types.tools import ToolUse

from genai_pipeline.agent.tools.mcp_spec import McpServerSpec

T = TypeVar("T")

CONNECT_S = 10
STOP_S = 2.0
HTTP_TIMEOUT = httpx2.Timeout(30.0, read=300.0)
"""The values of mcp itself: a server may be silent for a long time while it listens."""
RETRY_S = (1.0, 60.0)
"""The first and the longest pause between attempts to connect; each pause is twice the one before."""
MAX_REPLY_CHARS = 8_000
"""Of a tool's reply; the model does not get the rest."""
MAX_DESCRIPTION_CHARS = 1_000
_STRANDS_OWN_ERROR = "Tool execution failed: "
"""The beginning of an error of Strands' client itself, in contrast to an error that the tool reports."""

logger = logging.getLogger(__name__)


class McpServer:
    """Use it within one event loop. `problem` says what is wrong now. `tools` stay when the connection is lost."""

    def __init__(self, spec: McpServerSpec, timeout_s: float) -> None:
        self.spec, self.problem = spec, f"The tool server {spec.name} is not connected yet."
        self.tools: dict[str, McpTool] = {}
        self.tried = asyncio.Event()
        self._timeout_s = timeout_s
        self._client: MCPClient | None = None
        self._suspected = asyncio.Event()

    async def keep_connected(self) -> None:
        """Connect, and connect again when the connection was lost, until this task is cancelled."""
        pause_s = RETRY_S[0]
        while True:
            connection = _Connection(self.spec)
            client = connection.client
            try:
                await self._connect(client)
                pause_s = RETRY_S[0]
                await self._until_lost(client)
            except Exception as error:  # Strands wraps whatever its transport raised
                logger.warning("server=<%s>, error=<%s> | no tool server", self.spec.name, type(error).__name__)
            finally:
                connected, self._client = self._client is client, None
                self.tried.set()
                await connection.end(connected)
            self.problem = f"The tool server {self.spec.name} does not answer."
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S[1])

    async def call(self, tool: str, tool_use_id: str, arguments: Any) -> dict[str, Any]:
        """Return the tool's result in Strands' form; a failed one if the server cannot be reached."""
        client = self._client
        if client is None:
            return self._failed(tool_use_id, "no connection")
        try:
            async with asyncio.timeout(self._timeout_s):
                patience = timedelta(seconds=self._timeout_s)
                result = await client.call_tool_async(tool_use_id, tool, arguments, patience)
        except TimeoutError:
            self._suspected.set()
            return self._failed(tool_use_id, "timeout")
        except Exception:  # Strands raises several types
            self._suspected.set()
            return self._failed(tool_use_id, "no connection")
        text = _text_of(result)
        if result["status"] == "error" and text.startswith(_STRANDS_OWN_ERROR):
            self._suspected.set()
            return self._failed(tool_use_id, text.removeprefix(_STRANDS_OWN_ERROR)[:200])
        return {"toolUseId": tool_use_id, "status": result["status"], "content": [{"text": _cut(text)}]}

    async def _connect(self, client: MCPClient) -> None:
        async with asyncio.timeout(CONNECT_S + 1):
            listed = await asyncio.wrap_future(_in_thread(lambda: _listed(client.start())))
        for tool in listed:
            own = self.tools.setdefault(tool.tool_name, McpTool(tool.mcp_tool, client, self))
            own.mcp_tool = tool.mcp_tool
        missing = sorted(set(self.spec.tools) - {tool.tool_name for tool in listed})
        self.problem = f"The tool server {self.spec.name} has no {', '.join(missing)}." if missing else ""
        self._suspected.clear()
        self._client = client
        self.tried.set()

    async def _until_lost(self, client: MCPClient) -> None:
        """List the tools again after a failed call. Raises: the error of that, when the connection is lost."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            async with asyncio.timeout(CONNECT_S):
                await asyncio.wrap_future(_in_thread(client.list_tools_sync))

    def _failed(self, tool_use_id: str, why: str) -> dict[str, Any]:
        text = f"Error: the tool server {self.spec.name} did not answer ({why})"
        return {"toolUseId": tool_use_id, "status": "error", "content": [{"text": text}]}


class McpTool(MCPAgentTool):
    """A tool of a server; all sessions share it."""

    def __init__(self, mcp_tool: Any, client: MCPClient, server: McpServer) -> None:
        super().__init__(mcp_tool, client)
        self._server = server

    @property
    def tool_spec(self) -> Any:
        """The part of the specification that the model needs."""
        spec = super().tool_spec
        description = spec["description"][:MAX_DESCRIPTION_CHARS]
        return {"name": spec["name"], "description": description, "inputSchema": spec["inputSchema"]}

    async def stream(
        self, tool_use: ToolUse, invocation_state: dict[str, Any], **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        result: Any = await self._server.call(self.mcp_tool.name, tool_use["toolUseId"], tool_use["input"])
        yield ToolResultEvent(result)


class _Connection:
    """Strands' client with an end that never blocks: its own `stop` waits for ever for a server that hangs.

    The client keeps the connection in one task of its own loop and thread. That task opens the transport, so the
    transport knows the task. When the task is cancelled, the transport raises an error, and the client ends both.
    """

    def __init__(self, spec: McpServerSpec) -> None:
        self._spec = spec
        self._keeper: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None
        allowed: Any = {"allowed": list(spec.tools)}
        self.client = MCPClient(
            self._transport, startup_timeout=CONNECT_S, tool_filters=allowed, application_name="genai-agent"
        )

    async def end(self, connected: bool) -> None:
        """Close the connection; give up a server that does not react."""
        if connected:
            stopped = asyncio.wrap_future(_in_thread(lambda: self.client.stop(None, None, None)))
            stopped.add_done_callback(lambda future: future.cancelled() or future.exception())
            await asyncio.wait({stopped}, timeout=STOP_S)
        if self._keeper:
            loop, task = self._keeper
            with suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(task.cancel)

    @asynccontextmanager
    async def _transport(self) -> AsyncGenerator[Any, None]:
        task = asyncio.current_task()
        assert task
        self._keeper = asyncio.get_running_loop(), task
        try:
            async with _opened(self._spec) as streams:
                yield streams
        except asyncio.CancelledError as error:
            raise ConnectionAbortedError("the connection to the tool server was closed") from error


@asynccontextmanager
async def _opened(spec: McpServerSpec) -> AsyncGenerator[Any, None]:
    if spec.url:
        async with (
            httpx2.AsyncClient(headers=dict(spec.headers), timeout=HTTP_TIMEOUT, follow_redirects=True) as client,
            streamable_http_client(spec.url, http_client=client) as streams,
        ):
            yield streams
    else:
        # Only mcp's short list and the named variables: the process gets none of this service's secrets.
        program = StdioServerParameters(command=spec.command, args=list(spec.args), env=dict(spec.env) or None)
        async with stdio_client(program) as streams:
            yield streams


def _listed(client: MCPClient) -> list[MCPAgentTool]:
    tools, token = [], None
    for _ in range(100):  # pages; the list of a faulty server may have no end
        page = client.list_tools_sync(token)
        tools += page
        token = page.pagination_token
        if token is None:
            break
    return tools


def _in_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(work())
        except BaseException as error:
            with suppress(Exception):
                future.set_exception(error)

    threading.Thread(target=run, name="mcp", daemon=True).start()
    return future


def _text_of(result: Any) -> str:
    parts = [part.get("text", "[left out: not text]") for part in result["content"]]
    if not parts and "structuredContent" in result:
        parts = [json.dumps(result["structuredContent"], ensure_ascii=False)]
    return "\n".join(parts)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_REPLY_CHARS else f"{text[:MAX_REPLY_CHARS]} [cut: {len(text)} characters]"
