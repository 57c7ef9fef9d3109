"""Any OpenAI-compatible endpoint: vLLM, Ray Serve, a gateway.

One client for all sessions: Strands' default opens a connection for every completion.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
from openai import APIConnectionError, APIStatusError, AsyncOpenAI
from openai._streaming import ServerSentEvent, SSEDecoder
from strands.models.openai import OpenAIModel

from genai_pipeline.agent.models.failures import BrokenStream, Stalled
from genai_pipeline.agent.models.openai_chunks import checked_chunks
from genai_pipeline.agent.models.spec import EndpointSpec
from genai_pipeline.agent.settings import Settings

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of one HTTP answer, as it is sent: a chunk for each token is some hundred bytes."""

AFTER_DONE_S = 0.1
"""For the end of the body after the last word; a connection is not worth more."""


class OpenAIProvider:
    """Make and use it within one event loop, whose connections it keeps."""

    def __init__(self, spec: EndpointSpec, settings: Settings) -> None:
        self._spec = spec
        self._silence_s = settings.model_timeout_s
        connections = settings.max_concurrent + 8  # and the probes
        self._client = AsyncOpenAI(
            base_url=spec.base_url,
            api_key=spec.api_key,
            max_retries=0,  # fallback.py retries: the client would wait for the same dead endpoint twice
            http_client=httpx.AsyncClient(
                timeout=httpx.Timeout(settings.model_timeout_s, connect=settings.model_connect_timeout_s),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                headers={"Accept-Encoding": "identity"},  # so that what is sent bounds what is read
                event_hooks={"response": [_bounded]},
                follow_redirects=True,
            ),
        )
        # Imported when first asked for, a second's work: now, before it holds up the event loop.
        _ = self._client.chat.completions, self._client.models

    async def model(self, temperature: float, max_tokens: int) -> OpenAIModel:
        params = {"temperature": temperature, "max_tokens": max_tokens}
        client: Any = _CheckedClient(self._client, self._silence_s)
        return OpenAIModel(client=client, model_id=self._spec.model, params=params)

    async def listed_models(self) -> list[str] | None:
        """Names that the endpoint serves; None where it does not say."""
        try:
            return [str(model.id) async for model in self._client.models.list()]
        except APIStatusError as error:
            if error.status_code in (404, 405, 501):  # gateways leave it out
                return None
            raise
        except APIConnectionError as error:
            if isinstance(error.__cause__, BrokenStream):  # of `_bounded`; the client takes it for a lost connection
                raise error.__cause__ from None
            raise
        except (ValueError, AttributeError, TypeError) as error:
            raise BrokenStream("its list of models is none") from error

    async def close(self) -> None:
        await self._client.close()


class _CheckedClient:
    """The client as Strands sees it: completions are read with distrust, all else is the client's own."""

    def __init__(self, client: AsyncOpenAI, silence_s: float) -> None:
        self._client, self._silence_s = client, silence_s
        self.chat = self.completions = self  # client.chat.completions.create

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def create(self, **request: Any) -> AsyncIterator[Any]:
        if not request.get("tools"):
            request.pop("tools", None)  # Strands sends an empty list, which vLLM refuses
        # As a body of its own: what are arguments the client compares with its types, word by word, for 4 ms of CPU.
        named = {"model": request.pop("model"), "messages": [], "stream": request.pop("stream", True)}
        body = request.pop("extra_body", None) or {}
        try:
            async with asyncio.timeout(self._silence_s):  # the client's own is per read: it can be fed drop by drop
                stream = await self._client.chat.completions.create(**named, extra_body=request | body)
        except TimeoutError as error:
            raise Stalled(self._silence_s) from error
        except APIConnectionError as error:
            if isinstance(error.__cause__, BrokenStream):  # of `_bounded`; the client takes it for a lost connection
                raise error.__cause__ from None
            raise
        if not hasattr(stream, "response"):
            raise BrokenStream("it is not streamed")
        stream._decoder = _Events()
        return checked_chunks(stream, self._silence_s)


class _Events(SSEDecoder):
    """Without those that hold no data, such as `retry: 1000`: the client would read them as JSON."""

    def decode(self, line: str) -> ServerSentEvent | None:
        event = super().decode(line)
        return event if event and event.data else None


async def _bounded(response: httpx.Response) -> None:
    if response.headers.get("content-encoding", "identity") != "identity":
        await response.aclose()
        raise BrokenStream("it is compressed, though that was not asked for")
    stream: Any = response.stream
    response.stream = _Bounded(stream)


class _Bounded(httpx.AsyncByteStream):
    """Ends what would never end, and reads to its end what has ended.

    The client puts a line together for as long as it has no end; and it stops at `[DONE]`, before the end of the
    body, so that every completion would cost a new connection.
    """

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream, self._parts = stream, aiter(stream)
        self._done = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._parts:
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise BrokenStream(f"it is larger than {MAX_ANSWER_BYTES >> 20} MiB")
            self._done = b"[DONE]" in part[-64:]
            yield part

    async def aclose(self) -> None:
        if self._done:
            with suppress(Exception):
                async with asyncio.timeout(AFTER_DONE_S):
                    await anext(self._parts, b"")
        await self._stream.aclose()
