"""Any OpenAI-compatible endpoint: vLLM, Ray Serve, a gateway.

All sessions share one client. Strands' default opens a connection for each completion.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
from openai import APIConnectionError, APIError, APIStatusError, AsyncOpenAI
from strands.models.openai import OpenAIModel

from genai_pipeline.agent.models.completion_failures import BrokenStream, Stalled
from genai_pipeline.agent.models.openai_stream import CompletionChunk, ErrorInStream, read_chunks
from genai_pipeline.agent.models.spec import EndpointSpec
from genai_pipeline.agent.models.system_role import SystemRole
from genai_pipeline.agent.settings import Settings

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of one HTTP answer. The chunk of one token has some hundred bytes."""


class OpenAIProvider:
    """Make and use it within one event loop, whose connections it keeps."""

    def __init__(self, spec: EndpointSpec, settings: Settings) -> None:
        self._spec = spec
        self._silence_s = settings.model_timeout_s
        connections = settings.max_concurrent + 8  # and the probes
        self._client = AsyncOpenAI(
            base_url=spec.base_url,
            api_key=spec.api_key,
            max_retries=0,  # model_fallback.py retries: the client would wait for the same dead endpoint twice
            http_client=httpx.AsyncClient(
                timeout=httpx.Timeout(settings.model_timeout_s, connect=settings.model_connect_timeout_s),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                headers={"Accept-Encoding": "identity"},  # so that what is sent bounds what is read
                event_hooks={"response": [_bounded]},
                follow_redirects=True,
            ),
        )
        self._system_role = SystemRole()
        # The client imports these at their first use, which takes a second: better now than in the event loop.
        _ = self._client.chat.completions, self._client.models

    async def model(self, temperature: float, max_tokens: int) -> OpenAIModel:
        params = {"temperature": temperature, "max_tokens": max_tokens}
        client: Any = _CheckedClient(self._client, self._silence_s, self._system_role)
        return OpenAIModel(client=client, model_id=self._spec.model, params=params)

    async def listed_models(self) -> list[str] | None:
        """Return the names of the models that the endpoint serves, or None if it does not list them."""
        try:
            return [str(model.id) async for model in self._client.models.list()]
        except APIStatusError as error:
            if error.status_code in (404, 405, 501):  # gateways leave it out
                return None
            raise
        except APIConnectionError as error:
            raise _real_cause(error) from None
        except (ValueError, AttributeError, TypeError) as error:
            raise BrokenStream("The endpoint's list of models is malformed.") from error

    async def close(self) -> None:
        await self._client.close()


class _CheckedClient:
    """The client as Strands sees it: streamed completions are checked, the rest is the client's own."""

    def __init__(self, client: AsyncOpenAI, silence_s: float, system_role: SystemRole) -> None:
        self._client, self._silence_s, self._system_role = client, silence_s, system_role
        self._streamed = client.chat.completions.with_streaming_response
        self.chat = self.completions = self  # client.chat.completions.create

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, **request: Any) -> AsyncIterator[CompletionChunk]:
        if not request.get("tools"):
            request.pop("tools", None)  # Strands sends an empty list, which vLLM refuses
        return self._chunks(request)

    async def _chunks(self, request: dict[str, Any]) -> AsyncGenerator[CompletionChunk, None]:
        # As a body of its own: the client compares arguments with its types, word by word, which costs 4 ms of CPU.
        named: dict[str, Any] = {"model": request.pop("model"), "messages": [], "stream": request.pop("stream", True)}
        body = request | request.pop("extra_body", {})
        async with AsyncExitStack() as opened:
            sent = self._system_role.messages(body["messages"])
            try:
                answer = await self._answer(opened, named, body | {"messages": sent})
            except APIStatusError as error:
                if not self._system_role.is_refused(error.status_code, str(error), sent):
                    raise
                again = self._system_role.messages(body["messages"])
                answer = await self._answer(opened, named, body | {"messages": again})
            try:
                async for chunk in read_chunks(answer.iter_bytes(), self._silence_s):
                    yield chunk
            except ErrorInStream as error:  # as the client would raise it: Strands recognises overflow and throttling
                raise APIError(str(error), answer.http_request, body=error.body) from error

    async def _answer(self, opened: AsyncExitStack, named: dict[str, Any], body: dict[str, Any]) -> Any:
        """Send the request and return its answer, whose body is not read yet."""
        try:
            async with asyncio.timeout(self._silence_s):  # the client's own timeout begins again with each byte
                return await opened.enter_async_context(self._streamed.create(**named, extra_body=body))
        except TimeoutError as error:
            raise Stalled(self._silence_s) from error
        except APIConnectionError as error:
            raise _real_cause(error) from None


def _real_cause(error: APIConnectionError) -> Exception:
    """Return the error of `_bounded`, which the client takes for a lost connection; otherwise the error itself."""
    return error.__cause__ if isinstance(error.__cause__, BrokenStream) else error


async def _bounded(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        await response.aclose()
        raise BrokenStream("The answer is compressed, although the request did not allow that.")
    stream: Any = response.stream
    response.stream = _Bounded(stream)


class _Bounded(httpx.AsyncByteStream):
    """The body of an answer up to MAX_ANSWER_BYTES. An endpoint may send without an end."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise BrokenStream(f"The answer is larger than {MAX_ANSWER_BYTES >> 20} MiB.")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
