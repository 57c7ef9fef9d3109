"""Amazon Bedrock's ConverseStream. Credentials and region as boto3 finds them: on EKS by Pod Identity."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

from botocore.config import Config
from strands.models import BedrockModel

from genai_pipeline.agent.models.silence import paced
from genai_pipeline.agent.models.spec import EndpointSpec
from genai_pipeline.agent.settings import Settings


class BedrockProvider:
    """Make and use it within one event loop.

    Strands reads each stream in a thread of the loop's executor. The default executor has six threads on two cores, so
    the loop gets one with a thread for each request.
    """

    def __init__(self, spec: EndpointSpec, settings: Settings) -> None:
        self._spec = spec
        self._silence_s = settings.model_timeout_s
        self._config = Config(
            connect_timeout=settings.model_connect_timeout_s,
            read_timeout=settings.model_timeout_s,
            retries={"total_max_attempts": 1},  # model_fallback.py retries
            max_pool_connections=settings.max_concurrent + 8,
        )
        self._threads = ThreadPoolExecutor(settings.max_concurrent + 8, thread_name_prefix="bedrock")
        self._client: Any = None

    async def model(self, temperature: float, max_tokens: int) -> _CancellableBedrock:
        asyncio.get_running_loop().set_default_executor(self._threads)
        return await asyncio.to_thread(
            self._build, temperature, max_tokens
        )  # it reads the API's description, which takes 0.2 s

    def _build(self, temperature: float, max_tokens: int) -> _CancellableBedrock:
        model = _CancellableBedrock(
            self._silence_s,
            model_id=self._spec.model,
            temperature=temperature,
            max_tokens=max_tokens,
            boto_client_config=self._config,
            api_key=None if self._spec.api_key == "none" else self._spec.api_key,
        )
        self._client = self._client or model.client
        model.client = self._client  # one pool of connections for all models
        return model

    async def listed_models(self) -> list[str] | None:
        """Return None: Bedrock has no list of served models."""
        return None

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()


class _CancellableBedrock(BedrockModel):
    """Strands' model, whose thread ends soon after its reader has left."""

    def __init__(self, silence_s: float, **config: Any) -> None:
        super().__init__(**config)
        self._silence_s = silence_s

    async def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:  # type: ignore[override]
        left = threading.Event()
        kwargs["cancel_signal"] = _Either(left, kwargs.get("cancel_signal"))
        try:
            async with aclosing(super().stream(*args, **kwargs)) as events:
                async for event in paced(events, self._silence_s):
                    yield event
        finally:
            left.set()


class _Either:
    """An event that is set as soon as one of several events is set."""

    def __init__(self, *events: threading.Event | None) -> None:
        self._events = [event for event in events if event is not None]

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)
