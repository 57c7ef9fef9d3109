"""Every setting of the agent service, read from the environment in this one place.

Bedrock is one setting away: `MODEL_PROVIDER=bedrock` (credentials as boto3 finds them).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_args

from genai_pipeline.agent.models.spec import DEFAULT_MODEL, EndpointSpec, Provider, fallback_specs, is_address
from genai_pipeline.agent.sessions.place import parse_place
from genai_pipeline.agent.tools.mcp_spec import McpServerSpec, mcp_server_specs

SYSTEM_PROMPT = (
    "You are a helpful assistant for the current time and the weather. "
    "Use the tools for every question about time or weather. Politely decline anything else."
)
MAX_TOOL_CYCLES = 100
MAX_PORT = 65_535
Place = str


class SettingsError(ValueError):
    """One or more environment variables are wrong; a line per mistake."""


@dataclass(frozen=True)
class Settings:
    """The service's settings; each one's variable is in `VARIABLES`. Times in seconds, sizes in bytes.

    Args:
        model_timeout_s: the longest silence of a model, before its first word and between two.
        model_connect_timeout_s: for a connection to it.
        model_max_answer_chars: a completion beyond this is ended, whatever the endpoint makes of model_max_tokens.
        model_fallbacks: asked in this order where the first model does not answer (models/spec.py).
        model_fallback_api_keys: one for each of them.
        model_breaker_failures: so many failures in a row open an endpoint's circuit breaker (models/breaker.py).
        model_breaker_share: so does this part of its last completions.
        model_breaker_pause_s: how long it is left out before it is tried again.
        mcp_servers: tool servers as a JSON list (tools/mcp_spec.py).
        mcp_timeout_s: for one call of one of their tools.
        trace_prompts: traces hold what people, models and tools say.
        max_history_messages: messages a session remembers; older ones are forgotten.
        max_concurrent: requests under way; more are refused.
        max_sessions: kept in memory; where they are not stored, the least recently used one beyond it is forgotten.
        sessions: `memory`, `file:<folder>` or `s3://<bucket>/<prefix>`.
        session_ttl_s: a session that nobody used for so long is removed.
        session_max_bytes: of one session's messages; its oldest turns go beyond it.
        session_lease_s: how long a replica that died keeps others from its sessions.
        api_keys: bearer keys, comma-separated; with none, nobody is asked for one.
        max_tool_cycles: model calls in one request; a model that still wants tools then is stopped.
        max_request_tokens: prompt and answer of all model calls in one request; checked between them.
        ready_cache_s: how long an answer of /readyz is reused.
        completion_recent_s: a completion this recent proves that the engine works.
        drain_deadline_s: how long SIGTERM waits for what is under way.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    release_id: str = ""
    model_provider: Provider = "openai"
    model_base_url: str = "http://127.0.0.1:8000/v1"
    model_id: str = ""
    model_api_key: str = field(default="none", repr=False)
    model_max_tokens: int = 256
    model_timeout_s: float = 30.0
    model_connect_timeout_s: float = 3.0
    model_max_answer_chars: int = 200_000
    model_fallbacks: str = ""
    model_fallback_api_keys: str = field(default="", repr=False)
    model_breaker_failures: int = 5
    model_breaker_share: float = 0.5
    model_breaker_pause_s: float = 5.0
    weather_url: str = "https://wttr.in"
    weather_timeout_s: float = 3.0
    mcp_servers: str = field(default="", repr=False)
    mcp_timeout_s: float = 10.0
    trace_prompts: bool = False
    system_prompt: str = SYSTEM_PROMPT
    max_body_bytes: int = 65_536
    max_prompt_chars: int = 4_000
    max_concurrent: int = 256
    deadline_s: float = 60.0
    max_tool_cycles: int = 6
    max_request_tokens: int = 50_000
    max_sessions: int = 1_000
    sessions: Place = "memory"
    session_ttl_s: float = 3_600.0
    session_max_bytes: int = 262_144
    session_lease_s: float = 15.0
    api_keys: str = field(default="", repr=False)
    max_history_messages: int = 40
    ready_cache_s: float = 5.0
    completion_recent_s: float = 60.0
    drain_deadline_s: float = 30.0

    @property
    def keys(self) -> tuple[str, ...]:
        """The bearer keys, one by one."""
        return tuple(key.strip() for key in self.api_keys.split(",") if key.strip())

    @property
    def model(self) -> str:
        return self.model_id or DEFAULT_MODEL[self.model_provider]

    @property
    def endpoints(self) -> tuple[EndpointSpec, ...]:
        """Which models are asked, in this order. Raises: ValueError: a fallback is written wrong."""
        url = self.model_base_url if self.model_provider == "openai" else ""
        key = self.model_api_key.strip() or "none"  # a Secret often ends in a line end, which no header may hold
        first = EndpointSpec(self.model_provider, self.model, url, key)
        fallbacks = fallback_specs(self.model_fallbacks, self.model_fallback_api_keys, self.model_base_url, key)
        return (first, *fallbacks)

    @property
    def mcp_server_specs(self) -> tuple[McpServerSpec, ...]:
        """Raises: ValueError: one is written wrong."""
        return mcp_server_specs(self.mcp_servers)

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment. Raises: SettingsError: with every mistake at once."""
        env = os.environ if env is None else env
        values: dict[str, Any] = {}
        problems: list[str] = []
        for entry in fields(cls):
            variable = VARIABLES[entry.name]
            if not env.get(variable):
                continue
            try:
                values[entry.name] = _READERS.get(str(entry.type), str)(env[variable])
            except ValueError as error:
                shown = "" if not entry.repr else f"={env[variable]!r}"
                problems.append(f"{variable}{shown}: {error}")
        settings = cls(**values)
        problems += settings._conflicts()
        if problems:
            raise SettingsError("\n".join(problems))
        return settings

    def _conflicts(self) -> list[str]:
        problems = [
            f"{VARIABLES[name]}={getattr(self, name)!r}: not an http(s) address. Write it like http://127.0.0.1:8000/v1."
            for name in ("model_base_url", "weather_url")
            if not is_address(getattr(self, name))
        ]
        problems += self._wrong_fallbacks()
        try:
            _ = self.mcp_server_specs
        except ValueError as error:
            problems.append(f"AGENT_MCP_SERVERS: {error}")
        problems += [
            f"{VARIABLES[name]}: holds a character that is in no key. Copy it anew, without quotes."
            for name in ("model_api_key", "model_fallback_api_keys")
            if not (key := getattr(self, name).strip()).isascii() or not all(map(str.isprintable, key))
        ]
        if self.port > MAX_PORT:
            problems.append(f"AGENT_PORT={self.port}: {MAX_PORT} is the highest.")
        if self.api_keys and not self.keys:
            problems.append("AGENT_API_KEYS: holds no key, so that everybody might ask. Set one, or leave it out.")
        if self.max_sessions < self.max_concurrent:
            problems.append("AGENT_MAX_SESSIONS: below AGENT_MAX_CONCURRENT, so a session in use might be forgotten.")
        if not 1 <= self.max_tool_cycles <= MAX_TOOL_CYCLES:
            problems.append(f"AGENT_MAX_TOOL_CYCLES: more than {MAX_TOOL_CYCLES}. Such a loop is no answer.")
        if self.max_history_messages < 2 * self.max_tool_cycles + 2:
            problems.append("AGENT_MAX_HISTORY_MESSAGES: below 2 * AGENT_MAX_TOOL_CYCLES + 2: a turn would not fit.")
        return problems

    def _wrong_fallbacks(self) -> list[str]:
        try:
            asked = [(spec.provider, spec.model, spec.base_url) for spec in self.endpoints]
        except ValueError as error:
            return [f"MODEL_FALLBACKS: {error}"]
        twice = sorted(
            {
                f"{model} at {url or provider}"
                for provider, model, url in asked
                if asked.count((provider, model, url)) > 1
            }
        )
        return [f"MODEL_FALLBACKS: {', '.join(twice)} would be asked twice. Name each model once."] if twice else []


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < float("inf"):
            raise ValueError(f"must be a positive {'whole number' if kind is int else 'number'}.")
        return number

    return read


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false.")
    return text.lower() == "true"


def _provider(text: str) -> str:
    if text not in get_args(Provider):
        raise ValueError(f"must be one of: {', '.join(get_args(Provider))}.")
    return text


def _place(text: str) -> str:
    parse_place(text)
    return text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "bool": _truth,
    "int": _positive(int),
    "float": _positive(float),
    "Provider": _provider,
    "Place": _place,
}
_UNPREFIXED = ("release_id", "model_", "weather_", "system_prompt")
VARIABLES: Mapping[str, str] = {
    entry.name: entry.name.upper() if entry.name.startswith(_UNPREFIXED) else f"AGENT_{entry.name.upper()}"
    for entry in fields(Settings)
}
