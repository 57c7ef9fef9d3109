"""Ask an OpenAI-compatible endpoint for one answer, streamed or whole, with the real client.

What went wrong is told apart: an answer that says something about the model (`Declined`: it or its server will not do
this) and one that says nothing (`NotMeasured`: busy, broken, out of reach, not allowed).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from genai_pipeline.evaluation.agent_client import NotMeasured
from genai_pipeline.evaluation.tool_calling.connections import KeptConnections
from genai_pipeline.evaluation.tool_calling.scoring import RawCall

if TYPE_CHECKING:
    from openai import APIStatusError

CONNECT_S = 5.0
RETRIES = 2
_ASKED_OF_TOOLS = (400, 404, 422, 500, 501)
_NO_TOOLS = re.compile(
    r"tool.*(requires? --|not support|n't support|unsupported|not enabled|must be set|no parser)"
    r"|(not support|unsupported|no endpoints).*(tool|function)|requires --jinja",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG = re.compile(
    r"context.{0,20}(length|window|size)|max_model_len|too long|max_tokens.*too large", re.IGNORECASE
)
_SET = "Serve the model with --enable-auto-tool-choice and the --tool-call-parser that fits it (vLLM)."


class Declined(Exception):
    """The model, as it is served, cannot answer this."""


@dataclass
class Answer:
    """One answer. Seconds until it was whole; tokens as the endpoint counts them, 0 where it does not."""

    text: str = ""
    calls: list[RawCall] = field(default_factory=list[RawCall])
    finish: str = ""
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class Endpoint:
    """A model behind an address, with connections that are kept. For one event loop.

    Args:
        base_url: with or without `/v1`.
        timeout_s: for one answer, retries included.
        fixed: fields of every request, such as temperature and seed.
    """

    def __init__(
        self, base_url: str, model: str, api_key: str, concurrency: int, timeout_s: float, fixed: dict[str, Any]
    ) -> None:
        from openai import AsyncOpenAI  # a second to import

        self._url, self._model, self._timeout_s, self._fixed = with_version(base_url), model, timeout_s, fixed
        self._client = AsyncOpenAI(
            base_url=self._url,
            api_key=api_key or "none",
            max_retries=RETRIES,
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s)),
            http_client=httpx.AsyncClient(transport=KeptConnections(concurrency)),
        )

    async def __aenter__(self) -> Endpoint:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, messages: Sequence[Any], tools: Sequence[Any], streamed: bool) -> Answer:
        """One answer. Raises: Declined, NotMeasured."""
        from openai import APIConnectionError, APIError, APIStatusError

        started = time.perf_counter()
        # Beside the typed fields: the client would otherwise take every message and schema apart, which costs the most.
        raw = {"messages": list(messages), "tools": list(tools)}
        body: dict[str, Any] = {"model": self._model, "messages": [], "extra_body": raw, **self._fixed}
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await (self._streamed(body) if streamed else self._whole(body))
        except TimeoutError as error:
            waited = time.perf_counter() - started
            raise NotMeasured(f"{self._url} did not answer within {self._timeout_s:g} s", waited) from error
        except APIStatusError as error:
            raise self._refusal(error) from error
        except (APIConnectionError, httpx.TransportError) as error:
            cause = type(error.__cause__ or error).__name__
            raise NotMeasured(f"{self._url} could not be reached, or broke off ({cause})") from error
        except APIError as error:
            raise NotMeasured(f"{self._url} answered with an error: {error.message[:300]}") from error
        except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            raise NotMeasured(f"{self._url} does not speak this protocol ({error!r})"[:300]) from error
        answer.seconds = time.perf_counter() - started
        return answer

    async def _whole(self, body: dict[str, Any]) -> Answer:
        reply = await self._client.chat.completions.create(**body)
        choice = reply.choices[0]
        calls = [
            RawCall(call.id or "", call.function.name or "", call.function.arguments or "")
            for call in choice.message.tool_calls or []
        ]
        answer = Answer(choice.message.content or "", calls, choice.finish_reason or "")
        return _counted(answer, reply.usage)

    async def _streamed(self, body: dict[str, Any]) -> Answer:
        """As an agent's client puts the pieces together: by index, arguments one after another."""
        answer, parts = Answer(), dict[int, list[str]]()
        stream = await self._client.chat.completions.create(**body, stream=True, stream_options={"include_usage": True})
        async with stream:
            async for chunk in stream:
                _counted(answer, chunk.usage)
                for choice in (chunk.choices or [])[:1]:
                    answer.finish = choice.finish_reason or answer.finish
                    answer.text += (choice.delta.content if choice.delta else None) or ""
                    for piece in (choice.delta.tool_calls if choice.delta else None) or []:
                        known = parts.setdefault(piece.index or 0, ["", "", ""])
                        known[0] = known[0] or piece.id or ""
                        known[1] += (piece.function.name if piece.function else None) or ""
                        known[2] += (piece.function.arguments if piece.function else None) or ""
        if not answer.finish:
            raise NotMeasured(f"{self._url} ended its stream in the middle of an answer")
        answer.calls = [RawCall(*parts[index]) for index in sorted(parts)]
        return answer

    def _refusal(self, error: APIStatusError) -> Declined | NotMeasured:
        status, said = error.status_code, _said(error)
        if status in _ASKED_OF_TOOLS and _NO_TOOLS.search(said):
            return Declined(f"the endpoint takes no tools ({status}: {said}). {_SET}")
        if status == 400 and _TOO_LONG.search(said):
            return Declined(f"it does not fit the model's context ({said})")
        hint = {401: " Check the API key.", 403: " Check the API key.", 404: f" Is the model called {self._model!r}?"}
        return NotMeasured(f"{self._url} answered {status}: {said}{hint.get(status, '')}")


def with_version(base_url: str) -> str:
    """`http://host:port` as the client wants it; an address with a path is taken as it is."""
    url = base_url.rstrip("/")
    return url if urlsplit(url).path else f"{url}/v1"


def _counted(answer: Answer, usage: Any) -> Answer:
    if usage is not None:
        answer.input_tokens, answer.output_tokens = usage.prompt_tokens or 0, usage.completion_tokens or 0
    return answer


def _said(error: APIStatusError) -> str:
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return " ".join(str(message or error.message).split())[:300]
