"""One endpoint behind its circuit breaker: its completions, their outcomes, and the probes after a failure."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, Protocol

from opentelemetry import trace

from genai_pipeline.agent.agent_metrics import AgentMetrics
from genai_pipeline.agent.models.breaker import Breaker, State
from genai_pipeline.agent.models.completion import CompletionReader, Event, tool_use_ids
from genai_pipeline.agent.models.completion_failures import LeftOut, fault_of
from genai_pipeline.agent.models.spec import EndpointSpec
from genai_pipeline.agent.settings import Settings

TEMPERATURE = 0.0
PROBE_DEADLINE_S = 8.0
"""Shorter than the ten seconds that a readiness probe waits."""
HELLO: list[Any] = [{"role": "user", "content": [{"text": "Hello"}]}]

logger = logging.getLogger(__name__)


class ModelProvider(Protocol):
    """An API for models: openai_provider.py, bedrock_provider.py."""

    async def model(self, temperature: float, max_tokens: int) -> Any: ...

    async def listed_models(self) -> list[str] | None: ...

    async def close(self) -> None: ...


class ModelEndpoint:
    """Use it within one event loop. `completed_at`: end of the last good completion, in monotonic seconds."""

    def __init__(self, spec: EndpointSpec, provider: ModelProvider, settings: Settings, metrics: AgentMetrics) -> None:
        self.spec, self.completed_at = spec, float("-inf")
        self._provider, self._settings, self._metrics = provider, settings, metrics
        self._models: dict[int, Any] = {}
        self._recovery: asyncio.Task[None] | None = None
        self._tool_specs: list[Any] | None = None
        self.breaker = Breaker(
            settings.model_breaker_failures,
            settings.model_breaker_share,
            settings.model_breaker_pause_s,
            self._breaker_changed,
        )
        metrics.breaker(spec.name, spec.model, self.breaker.state)

    async def model(self, max_tokens: int | None = None) -> Any:
        """Return the provider's Strands model. Args: max_tokens: by default the setting's."""
        limit = max_tokens or self._settings.model_max_tokens
        if limit not in self._models:
            self._models[limit] = await self._provider.model(TEMPERATURE, limit)
        return self._models[limit]

    async def complete(self, messages: Any, tool_specs: Any, **rest: Any) -> AsyncGenerator[Event, None]:
        """Yield the checked events of one completion. Raises: LeftOut: the breaker is open; otherwise its error."""
        if self.breaker.state != "closed":
            self._metrics.completion(self.spec.name, self.spec.model, "left_out")
            raise LeftOut(self.breaker.left_s)
        self._tool_specs = tool_specs or self._tool_specs
        reader = CompletionReader(self._settings.model_max_answer_chars, tool_use_ids(messages))
        outcome = "abandoned"
        try:
            model = await self.model()
            answering = {"gen_ai.response.model": self.spec.model, "server.address": self.spec.name}
            trace.get_current_span().set_attributes(answering)
            async with aclosing(reader.read(model.stream(messages, tool_specs, **rest))) as events:
                async for event in events:
                    if "metadata" in event:
                        self._metrics.tokens_used(self.spec.name, event["metadata"].get("usage") or {})
                    yield event
            outcome = "answered"
        except Exception as error:
            outcome = fault_of(error).outcome
            raise
        finally:
            self._metrics.completion(self.spec.name, self.spec.model, outcome)
        self._succeeded()

    def failed(self, error: BaseException) -> None:
        """Count the error of a request that gave this endpoint up, if such an error counts."""
        if fault_of(error).counts:
            logger.warning("endpoint=<%s>, error=<%s> | a completion failed", self.spec.name, type(error).__name__)
            self.breaker.failed()

    async def listed_models(self) -> list[str] | None:
        return await self._provider.listed_models()

    async def probe(self, tool_specs: list[Any] | None = None) -> None:
        """Complete one token; success closes an open breaker. Raises: the probe's error."""
        if self.breaker.state == "open":
            self.breaker.half_open()
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                model = await self.model(max_tokens=1)
                reader = CompletionReader(self._settings.model_max_answer_chars, probe=True)
                stream = model.stream(HELLO, tool_specs or self._tool_specs, self._settings.system_prompt)
                async with aclosing(reader.read(stream)) as answer:
                    async for _ in answer:
                        pass
        except Exception as error:
            if fault_of(error).counts or isinstance(error, TimeoutError):
                self.breaker.failed()
            elif self.breaker.state == "half_open":  # it answers; this error is not why the breaker opened
                self.breaker.succeeded()
            raise
        self._succeeded()

    async def close(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            with suppress(asyncio.CancelledError):
                await self._recovery
        await self._provider.close()

    def _succeeded(self) -> None:
        self.completed_at = time.monotonic()
        self.breaker.succeeded()

    def _breaker_changed(self, state: State) -> None:
        spec = self.spec
        self._metrics.breaker(spec.name, spec.model, state)
        logger.warning("endpoint=<%s>, model=<%s>, breaker=<%s>", spec.name, spec.model, state)
        if state == "open" and (self._recovery is None or self._recovery.done()):
            self._recovery = asyncio.get_running_loop().create_task(self._recover())

    async def _recover(self) -> None:
        """Probe it after each pause until it answers, so that no request has to."""
        while self.breaker.state != "closed":
            await asyncio.sleep(self.breaker.left_s)
            with suppress(Exception):
                await self.probe()
