"""Drain: wait until a release has nothing under way and no connection kept, so that stopping it cuts nobody off.

A selector moves new connections only. Kept ones stay with the old pods for as long as their clients are busy, so
each pod is asked to close them with its next answer (k8s/leaving.py) and says itself when nothing is left. An
engine that cannot be asked is drained when its own metrics say that nothing runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.inference.abc import Inference, Leaving
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.rollout.switch.settling import why_unsettled

POLL_S = 0.25
QUIET_READINGS = 2
ASKED_AT_ONCE = 3
"""Questions per replica and round: which one answers is the Service's choice."""


@dataclass(frozen=True)
class Drained:
    """How a drain ended.

    Args:
        reason: empty when all was drained, else what was still missing at the deadline.
        outlived: requests that still ran at the deadline, named; stopping the release may cut them.
    """

    reason: str = ""
    outlived: tuple[str, ...] = ()


@dataclass
class _Release:
    """What the replicas of one release said last."""

    inference: Inference
    metrics: Metrics
    replicas: int
    said: dict[str, Leaving] = field(default_factory=dict[str, Leaving])
    busy: str = ""

    def why_not_drained(self) -> str:
        for _ in range(ASKED_AT_ONCE * self.replicas):
            try:
                leaving = self.inference.leave()
            except EngineUnavailable as error:
                return self._waiting_for(str(error))
            if leaving is None:
                return self._why_busy()
            self.said[leaving.pod] = leaving
            if not self._waiting_for():
                return ""
        return self._waiting_for()

    @property
    def outlived(self) -> tuple[str, ...]:
        running = tuple(f"{name} on {pod.pod}" for _, pod in sorted(self.said.items()) for name in pod.running)
        return running or ((self.busy,) if self.busy else ())

    def _waiting_for(self, trouble: str = "") -> str:
        """An engine that never answered has nothing to drain; one that fell silent while it was busy has."""
        left = [pod for pod, leaving in sorted(self.said.items()) if not leaving.drained]
        if left:
            return f"{', '.join(left)} still has requests or kept connections. {trouble}".strip()
        if trouble or len(self.said) >= self.replicas:
            return ""
        return f"only {len(self.said)} of {self.replicas} replicas answered"

    def _why_busy(self) -> str:
        try:
            now = self.metrics.read(self.inference.base_url)
        except EngineUnavailable:
            self.busy = ""
        else:
            self.busy = f"{now.running:g} running, {now.waiting:g} waiting" if now.running or now.waiting else ""
        return self.busy


def drain(
    inference: Inference,
    metrics: Metrics,
    replicas: int,
    deadline_s: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Drained:
    """Wait until every replica behind the address is drained, twice in a row, or until the deadline.

    vLLM aborts what runs when it is told to stop, so this comes before every scale-down.
    """
    release = _Release(inference, metrics, max(1, replicas))
    reason = why_unsettled(release.why_not_drained, QUIET_READINGS, POLL_S, deadline_s, sleep)
    return Drained(reason, release.outlived) if reason else Drained()
