import json
from typing import Any

import pytest

from genai_pipeline.agent.settings import Settings, SettingsError
from genai_pipeline.agent.tools.mcp_spec import mcp_server_specs

GOOD: dict[str, Any] = {"name": "files", "url": "https://files.example/mcp", "tools": ["search"]}


def test_servers_over_http_and_over_stdio_are_read():
    text = json.dumps([
        GOOD | {"headers": {"Authorization": "Bearer ${TOKEN}"}},
        {"name": "sums", "command": "sums-mcp", "args": ["--fast"], "tools": ["add"], "env": {"KEY": "$$plain"}},
    ])  # fmt: skip

    files, sums = mcp_server_specs(text, {"TOKEN": "s3cret"})

    assert (files.url, files.tools, files.headers) == (GOOD["url"], ("search",), {"Authorization": "Bearer s3cret"})
    assert (sums.command, sums.args, sums.env) == ("sums-mcp", ("--fast",), {"KEY": "$plain"})
    assert "s3cret" not in repr(files)


def test_without_servers_there_are_none():
    assert mcp_server_specs("") == mcp_server_specs("[]") == ()


@pytest.mark.parametrize(
    ("servers", "said"),
    [
        ("{", "not JSON"),
        ({}, "not a JSON list"),
        (["files"], "server 1 is not a JSON object"),
        ([GOOD | {"tool": ["x"]}], "unknown key 'tool'. Did you mean tools?"),
        ([GOOD | {"name": "a b"}], "`name` must be"),
        ([GOOD | {"command": "x"}], "give either `url` or `command`"),
        ([{"name": "files", "tools": ["x"]}], "give either `url` or `command`"),
        ([GOOD | {"url": "files.example"}], "`url` must be an http(s) address"),
        ([{"name": "files", "url": "http://h:99999/"}], "`url` must be an http(s) address"),
        ([{"name": "sums", "command": "", "tools": ["x"]}], "`command` must be"),
        ([{"name": "files", "url": "http://h/"}], "`tools` must name the tools"),
        ([GOOD | {"tools": ["*"]}], "`tools` must name the tools"),
        ([GOOD | {"tools": ["a", "a"]}], "`tools` must name the tools"),
        ([GOOD | {"tools": "search"}], "`tools` must be a list of strings"),
        ([GOOD | {"headers": {"Authorization": "${NOT_SET}"}}], "needs the variable NOT_SET"),
        ([GOOD | {"headers": {"A": "x$"}}], "Write $$ for a plain"),
        ([GOOD, GOOD | {"tools": ["other"]}], "two servers have the name 'files'"),
        ([GOOD, GOOD | {"name": "more"}], "more: files already has a tool 'search'"),
        ([GOOD | {"tools": ["get_weather"]}], "this service already has a tool 'get_weather'"),
    ],
)
def test_each_mistake_is_named_with_its_server(servers: Any, said: str):
    text = servers if isinstance(servers, str) else json.dumps(servers)

    with pytest.raises(SettingsError) as error:
        Settings.load({"AGENT_MCP_SERVERS": text})

    assert str(error.value).startswith("AGENT_MCP_SERVERS: ")
    assert said in str(error.value)


def test_a_mistake_shows_no_secret():
    with pytest.raises(SettingsError) as error:
        Settings.load({"AGENT_MCP_SERVERS": json.dumps([GOOD | {"headers": {"A": "sk-secret"}, "env": 1}])})

    assert "sk-secret" not in str(error.value)
