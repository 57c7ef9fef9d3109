"""An OpenAI-compatible endpoint over plain httpx.

The openai package takes a second to import and retries behind our back; what we need of the
protocol is two requests, read strictly: an answer that lacks a field we judge by is an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import httpx

from genai_pipeline.core.errors import EngineBroken, EngineUnavailable, Refused
from genai_pipeline.gateways.bounded_body import whole_within
from genai_pipeline.gateways.inference.abc import Completion, Inference, Leaving, Message, Tool, ToolCall

_OVERLOADED = 429
_OF_THE_WAY = frozenset({_OVERLOADED, 502, 503, 504})
"""Answers that may come from a proxy in between, or only say that there is too much to do."""
_LEAVE_S = 5.0
_LOOK = "Look at the engine's log; /health alone says nothing about completions."


class OpenAIInference(Inference):
    """One endpoint, with a deadline over each whole request (not only between two packets).

    Args:
        base_url: `http://host:port`, without `/v1`.
        deadline_s: for one request, from connecting to the last byte.
    """

    def __init__(self, base_url: str, deadline_s: float = 60, api_key: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self._deadline_s = deadline_s
        self._api_key = api_key
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(deadline_s, connect=min(5.0, deadline_s))
        self._client = httpx.Client(
            base_url=self.base_url,
            timeout=timeout,
            headers=headers,
            trust_env=False,
            event_hooks=whole_within(deadline_s),
        )

    def models(self) -> dict[str, str]:
        answer = self._exchange("GET", "/v1/models")
        try:
            return {card["id"]: str(card.get("root") or "") for card in answer["data"]}
        except (KeyError, TypeError, AttributeError) as error:
            raise self._not_understood("/v1/models", "a list of models", answer) from error

    def chat(
        self, model: str, messages: Sequence[Message], tools: Sequence[Tool] = (), max_tokens: int = 64
    ) -> Completion:
        body: dict[str, Any] = {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0}
        if tools:
            body["tools"] = list(tools)
        answer = self._exchange("POST", "/v1/chat/completions", body)
        try:
            return _completion(answer)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise self._not_understood("/v1/chat/completions", "a chat completion", answer) from error

    def within(self, deadline_s: float) -> OpenAIInference:
        return OpenAIInference(self.base_url, deadline_s, self._api_key)

    def leave(self) -> Leaving | None:
        url = f"{self.base_url}/drain"
        try:
            response = httpx.get(url, timeout=_LEAVE_S, trust_env=False)
            if response.status_code in (404, 405):
                return None
            said = response.raise_for_status().json()
            running = tuple(f"{r['request']} after {r['seconds']:g} s" for r in said["running"])
            return Leaving(str(said["pod"]), bool(said["drained"]), running)
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise EngineUnavailable(f"GET {url} told nothing of what runs: {error!r}.", _LOOK) from error

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> OpenAIInference:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        what = f"{method} {self.base_url}{path}"
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TimeoutException as error:
            raise EngineUnavailable(f"{what} did not answer within {self._deadline_s:g} s.", _LOOK) from error
        except httpx.HTTPError as error:
            raise EngineUnavailable(
                f"{what} got no answer: {str(error).rstrip('.') or type(error).__name__}.", _LOOK
            ) from error
        if response.status_code == _OVERLOADED or response.status_code >= 500:
            kind = EngineUnavailable if response.status_code in _OF_THE_WAY else EngineBroken
            raise kind(f"{what} answered {response.status_code}: {own_words(response.content)}", _LOOK)
        if response.status_code >= 400:
            remedy = "Compare the request with `serving.args` of the model file."
            raise Refused(f"{what} answered {response.status_code}: {own_words(response.content)}", remedy)
        try:
            return json.loads(response.content)
        except ValueError as error:
            raise self._not_understood(path, "JSON", response.content[:200]) from error

    def _not_understood(self, path: str, wanted: str, answer: Any) -> EngineUnavailable:
        return EngineUnavailable(
            f"{self.base_url}{path} answered something that is not {wanted}: {str(answer)[:200]!r}.",
            "Is this address an OpenAI-compatible engine?",
        )


def _completion(answer: Any) -> Completion:
    choice, usage = answer["choices"][0], answer["usage"]
    message = choice["message"]
    return Completion(
        model=str(answer["model"]),
        text=message.get("content") or "",
        tool_calls=tuple(_tool_call(call["function"]) for call in message.get("tool_calls") or ()),
        finish_reason=str(choice["finish_reason"]),
        prompt_tokens=int(usage["prompt_tokens"]),
        completion_tokens=int(usage["completion_tokens"]),
    )


def _tool_call(function: Mapping[str, Any]) -> ToolCall:
    try:
        arguments = json.loads(function.get("arguments") or "{}")
    except ValueError:
        arguments = None
    return ToolCall(str(function["name"]), arguments if isinstance(arguments, dict) else None)


def own_words(content: bytes | bytearray) -> str:
    """The message of an OpenAI or FastAPI error body, or the start of whatever came."""
    text = content.decode("utf-8", "replace").strip()
    try:
        body = json.loads(text)
        error = body.get("error", body)
        message = error if isinstance(error, str) else error.get("message") or error.get("detail") or text
    except (ValueError, AttributeError):
        message = text
    return str(message)[:500].rstrip(".") + "." if message else "(an empty body)."
