"""Real MCP servers: over streamable HTTP on loopback, and as processes over stdio."""

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from genai_pipeline.agent.tools.mcp import McpServers
from genai_pipeline.agent.tools.mcp_spec import mcp_server_specs
from tests.fakes.mcp_server import HttpMcpServer
from tests.fakes.running_agent import running_agent
from tests.fakes.scripted_model import Messages, Say, ScriptedModel, results_of

DEADLINE_S = 60


def servers(*entries: dict[str, Any], timeout_s: float = 5.0) -> McpServers:
    return McpServers(mcp_server_specs(json.dumps(entries)), timeout_s)


def run(work: Callable[[McpServers], Awaitable[Any]], found: McpServers) -> Any:
    async def main() -> Any:
        await found.start()
        try:
            return await work(found)
        finally:
            await found.close()

    return asyncio.run(main())


async def call(found: McpServers, tool: str, **arguments: Any) -> tuple[str, str]:
    """Status and text of a call, made as Strands makes it, once the tool is there."""
    async with asyncio.timeout(DEADLINE_S):
        while not (tools := [t for t in found.tools() if t.tool_name == tool]):
            await asyncio.sleep(0.02)
    events = [e async for e in tools[0].stream({"toolUseId": "id1", "name": tool, "input": arguments}, {})]
    result = events[-1].tool_result
    assert result["toolUseId"] == "id1"
    return result["status"], result["content"][0]["text"]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not await condition():
            await asyncio.sleep(0.02)


def test_only_allowed_tools_of_a_server_are_there_and_missing_ones_are_reported():
    async def work(found: McpServers) -> None:
        assert await call(found, "add", a=2, b=3) == ("success", "5")
        assert sorted(t.tool_name for t in found.tools()) == ["add", "fail"]
        assert found.problems() == ["The tool server numbers has no subtract."]
        assert found.tool_names == {"add", "fail", "subtract"}

    with HttpMcpServer() as server:
        run(work, servers({"name": "numbers", "url": server.url, "tools": ["add", "fail", "subtract"]}))


def test_what_a_tool_says_is_cut_and_its_failures_are_errors_for_the_model():
    async def work(found: McpServers) -> None:
        status, text = await call(found, "flood")
        assert (status, len(text) < 8_100, text.endswith("[cut: 1000000 characters]")) == ("success", True, True)
        status, text = await call(found, "fail")
        assert (status, "Traceback" in text) == ("error", False)
        assert (await call(found, "add", a="two", b=3))[0] == "error"

    with HttpMcpServer() as server:
        run(work, servers({"name": "numbers", "url": server.url, "tools": ["add", "flood", "fail"]}))


def test_a_tool_that_takes_too_long_is_a_timeout_and_the_server_stays():
    async def work(found: McpServers) -> None:
        expected = "Error: the tool server numbers did not answer (timeout)"
        assert await call(found, "sleep", seconds=8) == ("error", expected)

        async def adds() -> bool:
            return (await call(found, "add", a=1, b=1)) == ("success", "2")

        await until(adds)

    with HttpMcpServer() as server:
        run(work, servers({"name": "numbers", "url": server.url, "tools": ["add", "sleep"]}, timeout_s=1.0))


def test_a_server_that_goes_away_fails_its_calls_until_it_is_back():
    async def work(found: McpServers) -> None:
        assert (await call(found, "add", a=1, b=1))[0] == "success"
        server.__exit__()
        status, text = await call(found, "add", a=1, b=1)
        assert status == "error"
        assert text.startswith("Error: the tool server numbers did not answer")

        async def noted() -> bool:
            return found.problems() == ["The tool server numbers does not answer."]

        await until(noted)
        with HttpMcpServer(server.port):

            async def adds() -> bool:
                return (await call(found, "add", a=1, b=1))[0] == "success"

            await until(adds)
            assert found.problems() == []

    with HttpMcpServer() as server:
        run(work, servers({"name": "numbers", "url": server.url, "tools": ["add"]}))


def test_a_server_over_stdio_is_started_without_this_processes_secrets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MODEL_API_KEY", "sk-secret")
    program = {"command": sys.executable, "args": ["tests/fakes/mcp_server.py"], "env": {"OWN": "1"}}

    async def work(found: McpServers) -> None:
        assert await call(found, "shout", text="hello") == ("success", "HELLO")
        variables = (await call(found, "environment"))[1].split()
        assert "OWN" in variables
        assert "MODEL_API_KEY" not in variables

    run(work, servers({"name": "loud", "tools": ["shout", "environment"]} | program, timeout_s=30.0))


def test_servers_that_are_dead_or_hang_hold_nothing_up():
    async def work(found: McpServers) -> None:
        assert found.tools() == []
        assert len(found.problems()) == 3

    with socket.create_server(("127.0.0.1", 0)) as hangs:
        entries = [
            {"name": "dead", "url": "http://127.0.0.1:9/mcp", "tools": ["a"]},
            {"name": "hangs", "url": f"http://127.0.0.1:{hangs.getsockname()[1]}/mcp", "tools": ["b"]},
            {"name": "mute", "command": sys.executable, "args": ["-c", "input()"], "tools": ["c"]},
        ]
        before = set(threading.enumerate())
        run(work, servers(*entries))

        for thread in set(threading.enumerate()) - before:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a server that hangs keeps a thread of the client for ever"


def test_the_agent_calls_them_and_says_what_is_away():
    def script(messages: Messages) -> Say:
        if messages[-1]["role"] == "tool":
            return Say("; ".join(results_of(messages)))
        return Say(calls=[("add", {"a": 20, "b": 22}), ("secret", {})])

    with HttpMcpServer() as server, ScriptedModel(script) as model:
        entries = [
            {"name": "numbers", "url": server.url, "tools": ["add"]},
            {"name": "dead", "url": "http://127.0.0.1:9/mcp", "tools": ["rot13"]},
        ]
        with running_agent(model.url, mcp_servers=json.dumps(entries)) as agent, httpx.Client(timeout=60) as http:
            answer = http.post(f"{agent.url}/agent", json={"prompt": "How much is it?"}).json()
            ready = http.get(f"{agent.url}/readyz")
            metrics = http.get(f"{agent.url}/metrics").text

    assert [(t["name"], t["status"]) for t in answer["tools"]] == [("add", "success"), ("secret", "error")]
    assert answer["response"].startswith("42; ")
    assert "the secret" not in answer["response"]  # the server has it, and the list does not
    assert (ready.status_code, ready.json()["note"]) == (200, "The tool server dead does not answer.")
    assert 'agent_tool_calls_total{status="success",tool="add"} 1.0' in metrics
    assert 'agent_tool_calls_total{status="error",tool="unknown"} 1.0' in metrics
    assert 'agent_tool_seconds_count{tool="add"} 1.0' in metrics
