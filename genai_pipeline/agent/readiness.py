"""Is the model behind the agent the expected one, and does it really complete?

A health endpoint is not asked: vLLM's says 200 on an engine that fails every request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.agent.errors import AgentError
from genai_pipeline.agent.models import ModelEndpoint
from genai_pipeline.agent.settings import Settings

CHECK_DEADLINE_S = 8.0
"""Below the ten seconds that a readiness probe waits."""
FAILURE_CACHE_S = 0.5


@dataclass(frozen=True)
class Readiness:
    """`reason` says why not, and what to do."""

    ready: bool
    reason: str = ""


class ReadinessCheck:
    """Answers from its cache for some seconds, so that probes are not load. Use it within one event loop.

    Args:
        tool_specs: sent with the probe, as with every turn. Strands sends an empty list without, which vLLM refuses.
    """

    def __init__(
        self,
        settings: Settings,
        endpoint: ModelEndpoint,
        tool_specs: Sequence[Any],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._endpoint, self._clock = settings, endpoint, clock
        self._tool_specs = list(tool_specs)
        self._lock = asyncio.Lock()
        self._known: tuple[float, Readiness] | None = None
        self._completed_at = float("-inf")

    def completed(self) -> None:
        """The model just answered a user: as good a proof as a probe's."""
        self._completed_at = self._clock()

    async def check(self) -> Readiness:
        async with self._lock:
            if self._known and self._clock() < self._known[0]:
                return self._known[1]
            answer = await self._ask()
            keep_s = self._settings.ready_cache_s if answer.ready else FAILURE_CACHE_S
            self._known = (self._clock() + keep_s, answer)
            return answer

    async def _ask(self) -> Readiness:
        try:
            async with asyncio.timeout(CHECK_DEADLINE_S):
                return await self._listed() or await self._completes() or Readiness(True)
        except TimeoutError:
            return Readiness(False, f"The model did not answer within {CHECK_DEADLINE_S:g} s. See the engine's log.")
        except Exception as error:
            return Readiness(False, self._endpoint.explain(error).message)

    async def _listed(self) -> Readiness | None:
        names = await self._endpoint.listed_models()
        wanted = self._settings.model
        if names is None or wanted in names:
            return None
        return Readiness(False, f"The endpoint serves {', '.join(names) or 'nothing'}, not {wanted}. Check MODEL_ID.")

    async def _completes(self) -> Readiness | None:
        if self._clock() - self._completed_at < self._settings.completion_recent_s:
            return None
        events = 0
        hello = [{"role": "user", "content": [{"text": "Hello"}]}]
        async for _ in self._endpoint.model(max_tokens=1).stream(hello, self._tool_specs):
            events += 1
        if not events:
            raise AgentError(503, "model_unavailable", "The model answered with nothing.")
        self.completed()
        return None
