"""Every setting of the agent service, read from the environment in this one place.

Bedrock is one setting away: `MODEL_PROVIDER=bedrock` (credentials as boto3 finds them).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AliasGenerator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from genai_pipeline.agent.models.spec import DEFAULT_MODEL, EndpointSpec, Provider, fallback_specs, is_address
from genai_pipeline.agent.sessions.session_store import parse_place
from genai_pipeline.agent.tools.mcp_spec import McpServerSpec, mcp_server_specs

SYSTEM_PROMPT = (
    "You are a helpful assistant for the current time and the weather. "
    "Use the tools for every question about time or weather. Politely decline anything else."
)
MAX_TOOL_CYCLES = 100
MAX_PORT = 65_535
_UNPREFIXED = ("release_id", "model_", "weather_", "system_prompt")


class SettingsError(ValueError):
    """One or more environment variables are wrong; one line for each mistake."""


def _variable(name: str) -> str:
    return name.upper() if name.startswith(_UNPREFIXED) else f"AGENT_{name.upper()}"


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("must be an http(s) address. Write it like http://127.0.0.1:8000/v1.")
    return text


def _place(text: str) -> str:
    parse_place(text)
    return text


def _key(text: str) -> str:
    key = text.strip()  # a Secret often ends in a line end, which a header cannot hold
    if not key.isascii() or not all(map(str.isprintable, key)):
        raise ValueError("holds a character that a key cannot hold. Copy the key again, without quotes.")
    return key


def _keys(text: str) -> str:
    if text and not _split(text):
        raise ValueError("holds no key, so everyone could ask. Set a key, or leave the variable out.")
    return text


def _servers(text: str) -> str:
    mcp_server_specs(text)
    return text


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


Count = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Address = Annotated[str, AfterValidator(_address)]
Key = Annotated[str, AfterValidator(_key), Field(repr=False)]


class Settings(BaseModel):
    """The service's settings, each by its field or by its variable (`VARIABLES`). Times in seconds, sizes in bytes.

    Args:
        model_timeout_s: longest silence of a model, before its first word and between two.
        model_connect_timeout_s: for a connection to it.
        model_max_answer_chars: a longer completion is ended, even if the endpoint ignores model_max_tokens.
        model_fallbacks: models that are asked in this order if the first one does not answer (models/spec.py).
        model_fallback_api_keys: one for each of them.
        model_breaker_failures: so many failures in a row open an endpoint's circuit breaker (models/breaker.py).
        model_breaker_share: this share of failures among its last completions opens it too.
        model_breaker_pause_s: pause before an endpoint with an open breaker is asked again.
        mcp_servers: tool servers as a JSON list (tools/mcp_spec.py).
        mcp_timeout_s: for one call of one of their tools.
        trace_prompts: export the words of people, models and tools with the traces.
        max_history_messages: messages that a session remembers; older ones are dropped.
        max_concurrent: requests under way; more are refused.
        max_sessions: sessions in memory. If they are not stored, the least recently used one is lost beyond it.
        sessions: `memory`, `file:<folder>` or `s3://<bucket>/<prefix>`.
        session_ttl_s: a session that was not used for so long is removed.
        session_max_bytes: of one session's messages; its oldest turns are dropped beyond it.
        session_lease_s: how long a dead replica keeps others from its sessions.
        api_keys: the callers' keys, separated by commas; without any, everyone may ask.
        max_tool_cycles: completions in one request; a model that still calls tools then is stopped.
        max_request_tokens: prompt and answer of all completions in one request; checked between them.
        ready_cache_s: how long an answer of /readyz is used again.
        completion_recent_s: a completion that is not older proves that the model works.
        drain_deadline_s: how long SIGTERM waits for requests under way.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=AliasGenerator(validation_alias=_variable),
        validate_by_name=True,
        protected_namespaces=(),
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(gt=0, le=MAX_PORT)] = 8080
    release_id: str = ""
    model_provider: Provider = "openai"
    model_base_url: Address = "http://127.0.0.1:8000/v1"
    model_id: str = ""
    model_api_key: Key = "none"
    model_max_tokens: Count = 256
    model_timeout_s: Amount = 30.0
    model_connect_timeout_s: Amount = 3.0
    model_max_answer_chars: Count = 200_000
    model_fallbacks: str = ""
    model_fallback_api_keys: Key = ""
    model_breaker_failures: Count = 5
    model_breaker_share: Amount = 0.5
    model_breaker_pause_s: Amount = 5.0
    weather_url: Address = "https://wttr.in"
    weather_timeout_s: Amount = 3.0
    mcp_servers: Annotated[str, AfterValidator(_servers), Field(repr=False)] = ""
    mcp_timeout_s: Amount = 10.0
    trace_prompts: bool = False
    system_prompt: str = SYSTEM_PROMPT
    max_body_bytes: Count = 65_536
    max_prompt_chars: Count = 4_000
    max_concurrent: Count = 256
    deadline_s: Amount = 60.0
    max_tool_cycles: Annotated[int, Field(gt=0, le=MAX_TOOL_CYCLES)] = 6
    max_request_tokens: Count = 50_000
    max_sessions: Count = 1_000
    sessions: Annotated[str, AfterValidator(_place)] = "memory"
    session_ttl_s: Amount = 3_600.0
    session_max_bytes: Count = 262_144
    session_lease_s: Amount = 15.0
    api_keys: Annotated[str, AfterValidator(_keys), Field(repr=False)] = ""
    max_history_messages: Count = 40
    ready_cache_s: Amount = 5.0
    completion_recent_s: Amount = 60.0
    drain_deadline_s: Amount = 30.0

    @property
    def keys(self) -> tuple[str, ...]:
        """The callers' keys, one by one."""
        return _split(self.api_keys)

    @property
    def model(self) -> str:
        return self.model_id or DEFAULT_MODEL[self.model_provider]

    @property
    def agent_name(self) -> str:
        """The agent's own name as a model of OpenAI's API. No model of the pipeline may have such a name."""
        return self.model if self.model.endswith("-agent") else f"{self.model}-agent"

    @property
    def max_chat_bytes(self) -> int:
        """Of a request that brings its conversation: as much as a session may hold, and a question."""
        return self.session_max_bytes + self.max_body_bytes

    @property
    def endpoints(self) -> tuple[EndpointSpec, ...]:
        """The models that are asked, in this order. Raises: ValueError: a fallback is malformed."""
        url = self.model_base_url if self.model_provider == "openai" else ""
        key = self.model_api_key or "none"
        first = EndpointSpec(self.model_provider, self.model, url, key)
        fallbacks = fallback_specs(self.model_fallbacks, self.model_fallback_api_keys, self.model_base_url, key)
        return (first, *fallbacks)

    @property
    def mcp_server_specs(self) -> tuple[McpServerSpec, ...]:
        return mcp_server_specs(self.mcp_servers)

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Settings:
        """Read the environment; an empty variable counts as not set. Raises: SettingsError: with every mistake."""
        env = os.environ if env is None else env
        try:
            return cls.model_validate({name: env[name] for name in VARIABLES.values() if env.get(name)})
        except ValidationError as error:
            problems = [_problem(found) for found in error.errors(include_url=False)]
        raise SettingsError("\n".join(problems))  # outside `except`: the cause would show the values of secrets

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        problems = _wrong_fallbacks(self)
        if self.max_sessions < self.max_concurrent:
            problems.append("AGENT_MAX_SESSIONS: below AGENT_MAX_CONCURRENT, so a session in use could be dropped.")
        if self.max_history_messages < 2 * self.max_tool_cycles + 2:
            problems.append("AGENT_MAX_HISTORY_MESSAGES: below 2 * AGENT_MAX_TOOL_CYCLES + 2: a turn would not fit.")
        if problems:
            raise ValueError("\n".join(problems))
        return self


VARIABLES: Mapping[str, str] = {name: _variable(name) for name in Settings.model_fields}
"""The environment variable of each field."""

_SECRETS = frozenset(_variable(name) for name, field in Settings.model_fields.items() if not field.repr)
_REQUIRED = {
    "int_parsing": "must be a positive whole number.",
    "float_parsing": "must be a positive number.",
    "finite_number": "must be a positive number.",
    "greater_than": "must be a positive number.",
    "less_than_equal": "must be at most {le:g}.",
    "bool_parsing": "must be true or false.",
    "literal_error": "must be {expected}.",
}


def _problem(found: Any) -> str:
    """Return one line that names the variable, its value unless it is a secret, and what is allowed."""
    message = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:  # of settings that do not fit together; it names its variables itself
        return message
    variable = str(found["loc"][0])
    shown = "" if variable in _SECRETS else f"={found['input']!r}"
    required = _REQUIRED[found["type"]].format(**found.get("ctx", {})) if found["type"] in _REQUIRED else message
    return f"{variable}{shown}: {required}"


def _wrong_fallbacks(settings: Settings) -> list[str]:
    try:
        asked = [(spec.provider, spec.model, spec.base_url) for spec in settings.endpoints]
    except ValueError as error:
        return [f"MODEL_FALLBACKS: {error}"]
    twice = sorted(
        {f"{model} at {url or provider}" for provider, model, url in asked if asked.count((provider, model, url)) > 1}
    )
    return [f"MODEL_FALLBACKS: {', '.join(twice)} would be asked twice. Name each model once."] if twice else []
