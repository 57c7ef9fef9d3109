"""Drain a release: wait until no request runs and no connection is kept, so that stopping it cuts no client off.

A selector moves only new connections. A kept connection stays with the old pods for as long as its client is busy. So
each pod is asked to close its connections with the next answer (k8s/leaving.py), and reports when none is left. An
engine that cannot be asked counts as drained when its own metrics say that nothing runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from genai_pipeline.core.errors import EngineUnavailable
from genai_pipeline.gateways.inference.abc import DrainStatus, Inference
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.rollout.switch.settling import pause, why_unsettled

POLL_S = 0.25
QUIET_READINGS = 2
ASKED_AT_ONCE = 3
"""Questions per replica and round. The Service chooses the replica that answers."""


@dataclass(frozen=True)
class Drained:
    """How a drain ended.

    Args:
        reason: what was missing at the deadline, or an empty text if all replicas were drained.
        outlived: names of requests that still ran at the deadline. Stopping the release may cut them off.
    """

    reason: str = ""
    outlived: tuple[str, ...] = ()


@dataclass
class _Release:
    """What the replicas of one release reported last."""

    inference: Inference
    metrics: Metrics
    replicas: int
    reported: dict[str, DrainStatus] = field(default_factory=dict[str, DrainStatus])
    busy: str = ""

    def why_not_drained(self) -> str:
        for _ in range(ASKED_AT_ONCE * self.replicas):
            try:
                leaving = self.inference.leave()
            except EngineUnavailable as error:
                return self._waiting_for(str(error))
            if leaving is None:
                return self._why_busy()
            self.reported[leaving.pod] = leaving
            if not self._waiting_for():
                return ""
        return self._waiting_for()

    @property
    def outlived(self) -> tuple[str, ...]:
        running = tuple(f"{name} on {pod.pod}" for _, pod in sorted(self.reported.items()) for name in pod.running)
        return running or ((self.busy,) if self.busy else ())

    def _waiting_for(self, trouble: str = "") -> str:
        """Return what is still missing.

        An engine that never answered has nothing to drain. An engine that was busy and then stopped answering has.
        """
        left = [pod for pod, leaving in sorted(self.reported.items()) if not leaving.drained]
        if left:
            return f"{', '.join(left)} still has requests or kept connections. {trouble}".strip()
        if trouble or len(self.reported) >= self.replicas:
            return ""
        return f"only {len(self.reported)} of {self.replicas} replicas answered"

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
    sleep: Callable[[float], None] = pause,
) -> Drained:
    """Wait until every replica behind the address is drained, twice in a row, or until the deadline.

    vLLM aborts running requests when it has to stop, so this comes before every scale-down.

    Args:
        inference: an engine at the release's own address.
        replicas: how many replicas are expected to answer.
        deadline_s: seconds to wait.
    """
    release = _Release(inference, metrics, max(1, replicas))
    reason = why_unsettled(release.why_not_drained, QUIET_READINGS, POLL_S, deadline_s, sleep)
    return Drained(reason, release.outlived) if reason else Drained()
