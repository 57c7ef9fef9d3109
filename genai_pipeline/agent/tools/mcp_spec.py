"""Read AGENT_MCP_SERVERS: the MCP servers of the agent and the tools that the model may call.

    [{"name": "files", "url": "https://files.example/mcp", "headers": {"X-Key": "${KEY}"}, "tools": ["search"]},
     {"name": "sums", "command": "sums-mcp", "args": ["--fast"], "tools": ["add"], "env": {"KEY": "${SUMS_KEY}"}}]

Standard library only: settings.py reads this before Strands is there.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Any

from genai_pipeline.agent.models.spec import is_address

BUILT_IN = ("get_current_time", "get_weather")
"""The agent's own tools (builtin.py). No server may replace them."""
_KEYS = ("name", "url", "headers", "command", "args", "env", "tools")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class McpServerSpec:
    """A server behind streamable HTTP (`url`), or a program that is started here and used over stdio (`command`)."""

    name: str
    tools: tuple[str, ...]
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)


def mcp_server_specs(text: str, environment: Mapping[str, str] | None = None) -> tuple[McpServerSpec, ...]:
    """Read AGENT_MCP_SERVERS. `${VAR}` in headers and env is taken from the environment.

    Raises: ValueError: names the server and the mistake, and never shows the values of headers and env.
    """
    if not text.strip():
        return ()
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}). Write a list like {_EXAMPLE}.") from error
    if not isinstance(entries, list):
        raise ValueError(f"not a JSON list. Write one like {_EXAMPLE}.")
    known = os.environ if environment is None else environment
    specs = tuple(_spec(number, entry, known) for number, entry in enumerate(entries, start=1))
    owners: dict[str, str] = dict.fromkeys(BUILT_IN, "this service")
    for number, spec in enumerate(specs):
        if spec.name in [other.name for other in specs[:number]]:
            raise ValueError(f"two servers have the name {spec.name!r}. Give each server its own name.")
        for tool in spec.tools:
            if tool in owners:
                raise ValueError(f"{spec.name}: {owners[tool]} already has a tool {tool!r}. Remove one of them.")
            owners[tool] = spec.name
    return specs


_EXAMPLE = '[{"name": "files", "url": "https://files.example/mcp", "tools": ["search"]}]'


def _spec(number: int, entry: Any, environment: Mapping[str, str]) -> McpServerSpec:
    if not isinstance(entry, dict):
        raise ValueError(f"server {number} is not a JSON object. Write a list like {_EXAMPLE}.")
    for key in sorted(entry.keys() - set(_KEYS)):
        close = difflib.get_close_matches(key, _KEYS, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"The known keys are {', '.join(_KEYS)}."
        raise ValueError(f"server {number}: unknown key {key[:40]!r}. {hint}")
    name = entry.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"server {number}: `name` must be 1 to 64 letters, digits, hyphens or underscores.")
    if ("url" in entry) == ("command" in entry):
        raise ValueError(f"{name}: give either `url` or `command`.")
    if "url" in entry and not (isinstance(entry["url"], str) and is_address(entry["url"])):
        raise ValueError(f"{name}: `url` must be an http(s) address.")
    if "command" in entry and not (isinstance(entry["command"], str) and entry["command"]):
        raise ValueError(f"{name}: `command` must be the name of a program.")
    tools = _texts(name, entry, "tools")
    if not tools or len(set(tools)) < len(tools) or not all(_NAME.fullmatch(tool) for tool in tools):
        raise ValueError(f"{name}: `tools` must name the tools that the model may call, each once.")
    return McpServerSpec(
        name,
        tools,
        url=entry.get("url", ""),
        headers=_filled(name, entry, "headers", environment),
        command=entry.get("command", ""),
        args=_texts(name, entry, "args"),
        env=_filled(name, entry, "env", environment),
    )


def _texts(name: str, entry: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = entry.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"{name}: `{key}` must be a list of strings.")
    return tuple(values)


def _filled(name: str, entry: Mapping[str, Any], key: str, environment: Mapping[str, str]) -> dict[str, str]:
    values = entry.get(key, {})
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError(f"{name}: `{key}` must be an object of strings.")
    try:
        return {variable: Template(value).substitute(environment) for variable, value in values.items()}
    except KeyError as error:
        raise ValueError(f"{name}: `{key}` needs the variable {error.args[0]}, which is not set.") from error
    except ValueError as error:
        raise ValueError(f"{name}: `{key}` has a $ without a variable name. Write $$ for a plain $.") from error
