"""One MCP server: connected by Strands' client, connected again when it was away, its replies cut to size.

Strands' client starts, stops and lists tools with blocking calls, some without a deadline. They run in daemon
threads here, so that a server that hangs neither stops the event loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from mcp import StdioServerParameters, stdio_client
from strands.tools.mcp import MCPAgentTool, MCPClient
from strands.types._events import ToolResultEvent
from strands.types.tools import ToolUse

from genai_pipeline.agent.tools.mcp_spec import McpServerSpec

T = TypeVar("T")

CONNECT_S = 10
STOP_S = 2.0
RETRY_S = (1.0, 60.0)
"""The pause between attempts to connect: from, doubling, to."""
MAX_REPLY_CHARS = 8_000
"""Of a tool's reply that the model reads."""
MAX_DESCRIPTION_CHARS = 1_000
_STRANDS_OWN_ERROR = "Tool execution failed: "
"""So Strands' client begins what it says itself; what a tool says of its own failure begins as the tool likes."""

logger = logging.getLogger(__name__)


class McpServer:
    """Use it within one event loop. `problem` says what is wrong with it now; `tools` stay when it goes away."""

    def __init__(self, spec: McpServerSpec, timeout_s: float) -> None:
        self.spec, self.problem = spec, f"The tool server {spec.name} is not connected yet."
        self.tools: dict[str, McpTool] = {}
        self.tried = asyncio.Event()
        self._timeout_s = timeout_s
        self._client: MCPClient | None = None
        self._suspected = asyncio.Event()

    async def keep_connected(self) -> None:
        """Connect, and again whenever it was lost. Runs until it is cancelled."""
        pause_s = RETRY_S[0]
        while True:
            client = _client(self.spec)
            try:
                await self._connect(client)
                pause_s = RETRY_S[0]
                await self._until_lost(client)
            except Exception as error:  # Strands wraps whatever its transport raised
                logger.warning("server=<%s>, error=<%s> | no tool server", self.spec.name, type(error).__name__)
            finally:
                connected, self._client = self._client is client, None
                self.tried.set()
                await client.end(connected)
            self.problem = f"The tool server {self.spec.name} does not answer."
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_S[1])

    async def call(self, tool: str, tool_use_id: str, arguments: Any) -> dict[str, Any]:
        """The tool's result as Strands wants it; a server that is away is a failed call, never an exception."""
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
        except Exception:  # what Strands raises where the session is gone
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
        """Look at it when a call failed. Raises: what it answers then."""
        while True:
            await self._suspected.wait()
            self._suspected.clear()
            async with asyncio.timeout(CONNECT_S):
                await asyncio.wrap_future(_in_thread(client.list_tools_sync))

    def _failed(self, tool_use_id: str, why: str) -> dict[str, Any]:
        text = f"Error: the tool server {self.spec.name} did not answer ({why})"
        return {"toolUseId": tool_use_id, "status": "error", "content": [{"text": text}]}


class McpTool(MCPAgentTool):
    """A tool of a server, as all sessions share it."""

    def __init__(self, mcp_tool: Any, client: MCPClient, server: McpServer) -> None:
        super().__init__(mcp_tool, client)
        self._server = server

    @property
    def tool_spec(self) -> Any:
        """What the model reads of it; without what is for programs alone."""
        spec = super().tool_spec
        description = spec["description"][:MAX_DESCRIPTION_CHARS]
        return {"name": spec["name"], "description": description, "inputSchema": spec["inputSchema"]}

    async def stream(
        self, tool_use: ToolUse, invocation_state: dict[str, Any], **kwargs: Any
    ) -> AsyncGenerator[Any, None]:
        result: Any = await self._server.call(self.mcp_tool.name, tool_use["toolUseId"], tool_use["input"])
        yield ToolResultEvent(result)


def _client(spec: McpServerSpec) -> _EndableClient:
    allowed: Any = {"allowed": list(spec.tools)}
    named: Any = {"startup_timeout": CONNECT_S, "tool_filters": allowed, "application_name": "genai-agent"}
    if spec.url:
        return _EndableClient(url=spec.url, headers=dict(spec.headers) or None, **named)
    # Only what is named: the process gets no secret of this one, and its environment is mcp's short list.
    program = StdioServerParameters(command=spec.command, args=list(spec.args), env=dict(spec.env) or None)
    connect: Any = lambda: stdio_client(program)  # noqa: E731 (its type is narrower than what mcp 2 returns)
    return _EndableClient(connect, **named)


class _EndableClient(MCPClient):
    """Strands' client, whose `stop` waits for ever for a server that hangs while it is greeted."""

    async def end(self, connected: bool) -> None:
        """Part from the server; one that does not react is left."""
        thread, loop = self._background_thread, self._background_thread_event_loop
        if thread is None or loop is None:
            return
        if connected and thread.is_alive():
            stopped = asyncio.wrap_future(_in_thread(lambda: self.stop(None, None, None)))
            stopped.add_done_callback(lambda future: future.cancelled() or future.exception())
            await asyncio.wait({stopped}, timeout=STOP_S)
        with suppress(RuntimeError):  # it has ended just now
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])

    def _background_task(self) -> None:
        with suppress(asyncio.CancelledError):  # ours
            super()._background_task()


def _listed(client: MCPClient) -> list[MCPAgentTool]:
    tools, token = [], None
    for _ in range(100):  # pages; a server that never ends its list is none
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
