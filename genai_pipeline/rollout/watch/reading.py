"""Read the state of a live release: as a user sees it, from its own metrics, and from the cluster.

Nothing here judges. What could not be read is part of the reading, and raises nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from genai_pipeline.core.errors import EngineBroken, EngineUnavailable, GenaiError, Refused
from genai_pipeline.core.release import Release
from genai_pipeline.core.verdict import Asked
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.abc import Inference
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.k8s.render import release_alias, release_labels
from genai_pipeline.rollout.switch.candidates import Candidates
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.watch.limits import CANARY_TOKENS

CANARY_DEADLINE_S = 10.0
ABLE_S = 3.0
CRASH_LOOP = "CrashLoopBackOff"


@dataclass(frozen=True)
class Canary:
    """One short request through the stable address, as a user would ask.

    Args:
        kind: broken: an error that only the engine can have sent. silent: no answer, or an error that may come from the
            network. elsewhere: another release answered, so this says nothing about the watched one.
        seconds: for the request.
        way_s: for the question before it, which needs no model.
    """

    kind: Literal["answered", "broken", "silent", "elsewhere"]
    said: str = ""
    seconds: float = 0.0
    way_s: float = 0.0


@dataclass(frozen=True)
class Pods:
    """The state of the engine's pods.

    Args:
        restarts: of all containers together.
        crashing: name of a pod in a crash loop, or an empty text without one.
    """

    ready: int
    restarts: int
    crashing: str = ""


@dataclass(frozen=True)
class Reading:
    """What one look read.

    Args:
        wall, mono: Unix time and monotonic time, in seconds.
        metrics_error: why there are no metrics.
    """

    wall: float
    mono: float
    canary: Canary
    metrics: EngineMetrics | None = None
    metrics_error: str = ""
    pods: Pods | None = None
    asked: Asked | None = None


class Reader:
    """Read live releases. Every request has its own deadline."""

    def __init__(
        self,
        gateways: Gateways,
        candidates: Candidates,
        traffic: Traffic,
        wall: Callable[[], float] = time.time,
        mono: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateways = gateways
        self._candidates = candidates
        self._traffic = traffic
        self._wall = wall
        self._mono = mono

    @property
    def clocks(self) -> tuple[float, float]:
        """Return Unix time and monotonic time, in seconds."""
        return self._wall(), self._mono()

    def read(self, release: Release, ask: Callable[[str], Asked] | None = None) -> Reading:
        """Read a live release.

        Args:
            ask: asks the agent at an address; None: no agent is asked this time.
        """
        pods = self._pods(release)
        canary = self._canary(release)
        metrics, error = self._metrics(release)
        # If the engine is slow, the answer of the agent would be slow too and say nothing new.
        able = canary.kind == "answered" and canary.seconds < ABLE_S
        asked = self._asked(release, ask) if ask and able else None
        return Reading(*self.clocks, canary, metrics, error, pods, asked)

    def _canary(self, release: Release) -> Canary:
        try:
            url = self._traffic.url(release.model)
        except GenaiError as error:
            return Canary("silent", str(error))
        if url is None:
            return Canary("elsewhere", "There is no stable address.")
        inference = self._gateways.inference(url).within(CANARY_DEADLINE_S)
        try:
            return self._request(inference, release)
        finally:
            inference.close()

    def _request(self, inference: Inference, release: Release) -> Canary:
        name = release_alias(release)
        began = self._mono()
        try:
            served = inference.models()
            way_s = self._mono() - began
            if name not in served:
                return Canary("elsewhere", f"{', '.join(sorted(served))} answers at the stable address, not {name}")
            answer = inference.ask(release.task, name, max_tokens=CANARY_TOKENS)
        except EngineBroken as error:
            return Canary("broken", str(error))
        except Refused as error:  # 404 for the name: the selectors moved in between
            return Canary("elsewhere", str(error))
        except EngineUnavailable as error:
            return Canary("silent", str(error))
        seconds = self._mono() - began - way_s
        if answer.fault:
            return Canary("broken", answer.fault, seconds, way_s)
        return Canary("answered", seconds=seconds, way_s=way_s)

    def _metrics(self, release: Release) -> tuple[EngineMetrics | None, str]:
        """Read the metrics at the release's own address: there no other release answers."""
        try:
            return self._gateways.metrics.latest(self._candidates.engine_url(release)), ""
        except GenaiError as error:
            return None, str(error)

    def _pods(self, release: Release) -> Pods | None:
        try:
            ready = self._candidates.replicas_up(release)
            pods = self._gateways.cluster.list("Pod", release_labels(release, "engine"))
        except GenaiError:
            return None
        found = [(p["metadata"]["name"], c) for p in pods for c in p.get("status", {}).get("containerStatuses") or ()]
        looping = (name for name, c in found if (c["state"].get("waiting") or {}).get("reason") == CRASH_LOOP)
        return Pods(ready, sum(c.get("restartCount", 0) for _, c in found), next(looping, ""))

    def _asked(self, release: Release, ask: Callable[[str], Asked]) -> Asked | None:
        try:
            url = self._traffic.url(release.model, "agent")
            return ask(url) if url else None
        except GenaiError as error:
            return Asked("a question", None, str(error))
