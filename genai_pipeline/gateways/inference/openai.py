"""An engine behind the OpenAI API. An answer that lacks a field which is judged is an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from genai_pipeline.core.compile_cache import Restored
from genai_pipeline.core.errors import EngineBroken, EngineUnavailable, Refused
from genai_pipeline.core.task import Task
from genai_pipeline.gateways.inference.abc import (
    Answer,
    Completion,
    DrainStatus,
    Inference,
    Message,
    PulledCache,
    StandbyDoor,
    Tool,
)
from genai_pipeline.gateways.inference.compile_cache_client import ask_restored, pull_compile_cache
from genai_pipeline.gateways.inference.inference_client import (
    LOOK_AT_THE_LOG,
    ClientSettings,
    EndpointReply,
    InferenceClient,
)
from genai_pipeline.gateways.inference.standby_client import HttpStandbyDoor
from genai_pipeline.gateways.inference.task_endpoint import TaskEndpoint, endpoint_of, read_chat

Read = TypeVar("Read", bound=Answer)

_OVERLOADED = 429
_OF_THE_WAY = frozenset({_OVERLOADED, 502, 503, 504})
"""These may come from a proxy in between, or only mean that there is too much to do."""
_LEAVE_S = 5.0


class OpenAIInference(Inference):
    """One endpoint.

    Args:
        base_url: `http://host:port`, without `/v1`.
        deadline_s: for one request, from connecting to the last byte.
    """

    def __init__(self, base_url: str, deadline_s: float = 60, api_key: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self._client = InferenceClient(f"{self.base_url}/v1", ClientSettings(deadline_s, api_key))

    def models(self) -> dict[str, str]:
        content = self._answered("GET", "/models").content
        try:
            return {card["id"]: str(card.get("root") or "") for card in json.loads(content)["data"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._not_understood("/models", "a list of models", content) from error

    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[Tool] = (), max_tokens: int = 64
    ) -> Completion:
        body: dict[str, Any] = {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
        return self._read(endpoint_of(Task.CHAT), body | ({"tools": list(tools)} if tools else {}), read_chat)

    def ask(self, task: Task, model: str, text: str = "Hello", max_tokens: int = 64) -> Answer:
        endpoint = endpoint_of(task)
        return self._read(endpoint, endpoint.body(model, text, max_tokens), endpoint.read)

    def _read(self, endpoint: TaskEndpoint, body: Mapping[str, Any], read: Callable[[bytes], Read]) -> Read:
        content = self._answered("POST", endpoint.path, body).content
        try:
            return read(content)
        except ValueError as error:
            raise self._not_understood(endpoint.path, endpoint.wanted, content) from error

    def within(self, deadline_s: float) -> OpenAIInference:
        return OpenAIInference(self.base_url, deadline_s, self._client.settings.api_key)

    def standby(self, token: str) -> StandbyDoor:
        return HttpStandbyDoor(self.base_url, token)

    def leave(self) -> DrainStatus | None:
        url = f"{self.base_url}/drain"
        try:
            response = httpx.get(url, timeout=_LEAVE_S, trust_env=False)
            if response.status_code in (404, 405):
                return None
            said = response.raise_for_status().json()
            running = tuple(f"{r['request']} after {r['seconds']:g} s" for r in said["running"])
            return DrainStatus(str(said["pod"]), bool(said["drained"]), running)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineUnavailable(f"GET {url} did not list what runs: {error!r}.", LOOK_AT_THE_LOG) from error

    def restored(self, token: str) -> Restored | None:
        return ask_restored(self.base_url, token)

    def pull_compile_cache(self, token: str, sink: Callable[[bytes], object], deadline_s: float) -> PulledCache:
        return pull_compile_cache(self.base_url, token, sink, deadline_s)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> OpenAIInference:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answered(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> EndpointReply:
        reply = self._client.send(method, path, body)
        what = f"{method} {self._client.url}{path} answered {reply.status}: {reply.words}"
        if reply.status in _OF_THE_WAY:
            raise EngineUnavailable(what, LOOK_AT_THE_LOG)
        if reply.status >= 500:
            raise EngineBroken(what, LOOK_AT_THE_LOG)
        if reply.status >= 400:
            raise Refused(what, "Compare the request with `serving.args` of the model file.")
        return reply

    def _not_understood(self, path: str, wanted: str, content: bytes) -> EngineUnavailable:
        return EngineUnavailable(
            f"{self._client.url}{path} answered something that is not {wanted}: {content[:200]!r}.",
            "Is this address an OpenAI-compatible engine?",
        )
