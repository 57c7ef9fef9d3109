"""Check that the endpoint serves the expected model and that the model completed something a short while ago.

The endpoint's health check is not used: vLLM's answers 200 although its engine fails every request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genai_pipeline.agent.models.chain import ModelChain
from genai_pipeline.agent.models.completion_failures import LeftOut
from genai_pipeline.agent.models.model_endpoint import PROBE_DEADLINE_S, ModelEndpoint
from genai_pipeline.agent.settings import Settings

FAILURE_CACHE_S = 0.5


@dataclass(frozen=True)
class AgentReadiness:
    """`reason` says what is wrong and what to do. A service that is ready may have one too."""

    ready: bool
    reason: str = ""


class ReadinessCheck:
    """Keeps its answer for some seconds, so that probes cause no load. Use it within one event loop.

    Args:
        tool_specs: sent with the probe, as with every turn.
        notes: problems with which the service is still ready, such as a tool server that cannot be reached.
    """

    def __init__(
        self,
        settings: Settings,
        chain: ModelChain,
        tool_specs: Sequence[Any],
        notes: Callable[[], Sequence[str]] = lambda: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._chain, self._notes, self._clock = settings, chain, notes, clock
        self._tool_specs = list(tool_specs)
        self._lock = asyncio.Lock()
        self._known: tuple[float, AgentReadiness] | None = None

    async def check(self) -> AgentReadiness:
        async with self._lock:
            if self._known is None or self._clock() >= self._known[0]:
                answer = await self._ask()
                keep_s = self._settings.ready_cache_s if answer.ready else FAILURE_CACHE_S
                self._known = (self._clock() + keep_s, answer)
            known = self._known[1]
        return AgentReadiness(known.ready, " ".join(filter(None, [known.reason, *self._notes()])))

    async def _ask(self) -> AgentReadiness:
        """Ask all endpoints at the same time, so that one that hangs does not delay the others."""
        endpoints = self._chain.endpoints
        problems = await asyncio.gather(*(self._problem(endpoint) for endpoint in endpoints))
        wrong = [f"{e.spec.model} at {e.spec.where}: {p}" for e, p in zip(endpoints, problems, strict=True) if p]
        if not wrong:
            return AgentReadiness(True)
        reason = problems[0] if len(endpoints) == 1 else " ".join(wrong)
        return AgentReadiness(len(wrong) < len(endpoints), reason or "")

    async def _problem(self, endpoint: ModelEndpoint) -> str | None:
        """Return why this endpoint would not answer now, or None."""
        try:
            async with asyncio.timeout(PROBE_DEADLINE_S):
                left_out = endpoint.breaker.state != "closed"
                if left_out and any(other.breaker.state == "closed" for other in self._chain.endpoints):
                    raise LeftOut(endpoint.breaker.left_s)  # do not wait for it
                names = await endpoint.listed_models()
                if names is not None and endpoint.spec.model not in names:
                    served = ", ".join(names) or "nothing"
                    return f"The endpoint serves {served:.200}, not {endpoint.spec.model}. Check MODEL_ID."
                if left_out or self._clock() - endpoint.completed_at >= self._settings.completion_recent_s:
                    await endpoint.probe(self._tool_specs)
        except TimeoutError:
            return f"The model did not answer within {PROBE_DEADLINE_S:g} s. See the engine's log."
        except Exception as error:
            return self._chain.explain(error, endpoint).message
        return None
