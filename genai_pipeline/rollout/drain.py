"""Drain: wait until a release has nothing under way, so that stopping it cuts nobody off."""

from __future__ import annotations

import time
from collections.abc import Callable

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.metrics.abc import Metrics

POLL_S = 0.25
QUIET_READINGS = 2


def drain(metrics: Metrics, engine_url: str, deadline_s: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until the engine runs and queues nothing, twice in a row; False when the deadline came first.

    An engine that does not answer has nothing to drain. vLLM aborts what runs when it is told to
    stop, so this comes before every scale-down.
    """
    quiet, waited = 0, 0.0
    while waited < deadline_s:
        try:
            now = metrics.read(engine_url)
        except EngineUnavailable:
            return True
        quiet = quiet + 1 if now.running == 0 and now.waiting == 0 else 0
        if quiet >= QUIET_READINGS:
            return True
        sleep(POLL_S)
        waited += POLL_S
    return False
