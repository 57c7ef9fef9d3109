"""Look at a live release from every side: as a user, through its own metrics, and through the cluster.

Nothing here judges, and nothing here raises what a look may come to: what could not be read is part of the reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from genai_pipeline.core.errors import EngineBroken, EngineUnavailable, GenaiError, Refused
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.inference.abc import Inference
from genai_pipeline.gateways.metrics.abc import EngineMetrics
from genai_pipeline.k8s.render import release_alias, release_labels
from genai_pipeline.rollout.switch.candidate import Candidates
from genai_pipeline.rollout.switch.traffic import Traffic
from genai_pipeline.rollout.watch.limits import CANARY_TOKENS

CANARY_DEADLINE_S = 10.0
ABLE_S = 3.0
CRASH_LOOP = "CrashLoopBackOff"


@dataclass(frozen=True)
class Canary:
    """One short completion through the stable address, as a user would ask for it.

    Args:
        kind: broken: answered with an error that only the engine can have given. silent: no answer, or one that may
            come from the way there. elsewhere: another release answered, so this says nothing of the one watched.
        seconds: for the completion. way_s: for the question before it, which no model has to answer.
    """

    kind: Literal["answered", "broken", "silent", "elsewhere"]
    said: str = ""
    seconds: float = 0.0
    way_s: float = 0.0


@dataclass(frozen=True)
class Pods:
    """`crashing` names a pod in a crash loop; empty where there is none. `restarts` of all containers together."""

    ready: int
    restarts: int
    crashing: str = ""


@dataclass(frozen=True)
class Asked:
    """One question to the stable agent. `right` is None where it could not be judged."""

    case: str
    right: bool | None
    said: str


@dataclass(frozen=True)
class Reading:
    """What one look saw. `wall` is Unix time, `mono` monotonic; `metrics_error` says why there are no metrics."""

    wall: float
    mono: float
    canary: Canary
    metrics: EngineMetrics | None = None
    metrics_error: str = ""
    pods: Pods | None = None
    asked: Asked | None = None


class Reader:
    """Reads live releases. Every question has a deadline of its own."""

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
        """Unix time and monotonic time."""
        return self._wall(), self._mono()

    def read(self, release: Release, ask: Callable[[str], Asked] | None = None) -> Reading:
        """Args: ask: puts a question to the agent behind an address; None: not this time."""
        pods = self._pods(release)
        canary = self._canary(release)
        metrics, error = self._metrics(release)
        # Without a quick engine the agent's answer would only take its time to say the same.
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
            return self._complete(inference, release)
        finally:
            inference.close()

    def _complete(self, inference: Inference, release: Release) -> Canary:
        name = release_alias(release)
        began = self._mono()
        try:
            served = inference.models()
            way_s = self._mono() - began
            if name not in served:
                return Canary("elsewhere", f"{', '.join(sorted(served))} answers at the stable address, not {name}")
            answer = inference.chat(name, [{"role": "user", "content": "Hello"}], max_tokens=CANARY_TOKENS)
        except EngineBroken as error:
            return Canary("broken", str(error))
        except Refused as error:  # 404 for the name: the selectors moved in between
            return Canary("elsewhere", str(error))
        except EngineUnavailable as error:
            return Canary("silent", str(error))
        seconds = self._mono() - began - way_s
        if not answer.text.strip():
            return Canary("broken", "the completion came back empty", seconds, way_s)
        return Canary("answered", seconds=seconds, way_s=way_s)

    def _metrics(self, release: Release) -> tuple[EngineMetrics | None, str]:
        """Asked at the release's own address, so that they are nobody else's."""
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
