"""Drain: wait until a release has nothing under way, so that stopping it cuts nobody off."""

from __future__ import annotations

import time
from collections.abc import Callable

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.rollout.settling import why_unsettled

POLL_S = 0.25
QUIET_READINGS = 2


def drain(metrics: Metrics, engine_url: str, deadline_s: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until the engine runs and queues nothing, twice in a row; False when the deadline came first.

    An engine that does not answer has nothing to drain. vLLM aborts what runs when it is told to
    stop, so this comes before every scale-down.
    """

    def busy() -> str:
        try:
            now = metrics.read(engine_url)
        except EngineUnavailable:
            return ""
        return f"{now.running:g} running, {now.waiting:g} waiting" if now.running or now.waiting else ""

    return not why_unsettled(busy, QUIET_READINGS, POLL_S, deadline_s, sleep)
