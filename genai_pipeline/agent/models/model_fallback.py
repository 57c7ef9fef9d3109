"""The one Strands model of the service: it asks the endpoints in their order until one answers.

Another endpoint is asked only while no part of an answer was passed on, so one completion never mixes the words of two
models. The next completion of the same conversation may come from another endpoint.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from strands.models import Model

from genai_pipeline.agent.models.completion_failures import AllFailed, fault_of
from genai_pipeline.agent.models.model_endpoint import ModelEndpoint

RETRY_PAUSE_S = (0.1, 0.4)
"""Range of the random pause before the last endpoint is asked again, so that not all requests ask at once."""
RAISED_BY = "genai_endpoint"
"""The attribute of an error with its endpoint, for `ModelChain.explain`. Strands needs the error's own type."""
_DROPPED = ("RemoteProtocolError", "ReadError", "WriteError", "ConnectionClosedError")


class FallbackModel(Model):
    """Delegates `stream` to the endpoints. Use it within one event loop; all sessions share it."""

    def __init__(self, endpoints: Sequence[ModelEndpoint]) -> None:
        self._endpoints = list(endpoints)
        self.config: dict[str, Any] = {"model_id": self._endpoints[0].spec.model}

    def get_config(self) -> dict[str, Any]:
        return self.config

    def update_config(self, **model_config: Any) -> None:
        """Raises: NotImplementedError: a change would affect all sessions."""
        raise NotImplementedError("The settings of the service configure the model.")

    async def stream(
        self, messages: Any, tool_specs: Any = None, system_prompt: str | None = None, **rest: Any
    ) -> AsyncGenerator[Any, None]:
        """Raises: the error of the only endpoint or of one that had begun to answer; AllFailed if several failed."""
        failures: list[tuple[ModelEndpoint, Exception]] = []
        for endpoint in self._endpoints:
            for attempt in (1, 2):
                passed_on = False
                try:
                    answer = endpoint.complete(messages, tool_specs, system_prompt=system_prompt, **rest)
                    async with aclosing(answer) as events:
                        async for event in events:
                            passed_on = True
                            yield event
                    return
                except Exception as error:
                    fault = fault_of(error)
                    setattr(error, RAISED_BY, endpoint.spec)
                    if passed_on or not fault.elsewhere:
                        endpoint.failed(error)
                        raise
                    if attempt == 1 and fault.again and await self._may_retry(endpoint, error):
                        continue
                    endpoint.failed(error)
                    failures.append((endpoint, error))
                    break
        if len(failures) == 1:
            raise failures[0][1]
        raise AllFailed([(f"{e.spec.model} at {e.spec.where}", error) for e, error in failures]) from failures[0][1]

    def structured_output(self, *args: Any, **kwargs: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Raises: NotImplementedError: the agent answers in text."""
        raise NotImplementedError("The agent asks for no structured output.")

    async def _may_retry(self, endpoint: ModelEndpoint, error: Exception) -> bool:
        """Retry at once if a kept connection was dropped, or after a pause if no other endpoint is left."""
        if type(error.__cause__ or error).__name__ in _DROPPED:
            return True
        later = self._endpoints[self._endpoints.index(endpoint) + 1 :]
        if any(other.breaker.state == "closed" for other in later):
            return False
        await asyncio.sleep(random.uniform(*RETRY_PAUSE_S))
        return True
