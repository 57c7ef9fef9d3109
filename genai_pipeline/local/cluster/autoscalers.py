"""Scales Deployments as their ScaledObjects say, by the figures of their pods. Elsewhere KEDA and Kubernetes do it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from genai_pipeline.core.errors import EngineUnavailable, NotFound
from genai_pipeline.gateways.cluster.pods import is_owned_by
from genai_pipeline.local.cluster.autoscaling import Recommendation, decide, scaling_of
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.objects import Object, pod_ready

log = logging.getLogger(__name__)

POLL_S = 1.0
READ_WITHIN_S = 2.0

Scale = Callable[[str, str, int], Awaitable[None]]
"""(namespace, name of the Deployment, replicas)."""
Read = Callable[[Object], float]
"""A pod -> its requests, running or waiting. Raises EngineUnavailable."""


class PodFigures:
    """Reads a pod's own /metrics, as the load test does."""

    def __init__(self) -> None:
        self._reader: Any = None

    def __call__(self, pod: Object) -> float:
        """Return the requests of the pod, running or waiting. Raises: EngineUnavailable."""
        if self._reader is None:
            from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader  # nothing else here needs it

            self._reader = EngineMetricsReader(READ_WITHIN_S)
        port = pod["spec"]["containers"][0]["ports"][0]["containerPort"]
        figures = self._reader.read(f"http://{pod['status']['podIP']}:{port}")
        return figures.running + figures.waiting


class Autoscalers:
    """Looks at every ScaledObject again and again. What was asked for before is forgotten when the daemon ends.

    Args:
        read: asked for every pod that serves, in a thread.
        clock: seconds that never go back.
    """

    def __init__(
        self, node: Node, scale: Scale, read: Read | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._node, self._store, self._scale, self._clock = node, node.store, scale, clock
        self._read = read or PodFigures()
        self._history: dict[str, Sequence[Recommendation]] = {}

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(POLL_S)

    async def look(self) -> None:
        """Look at each of them once."""
        found = self._store.list("ScaledObject")
        there = {scaled["metadata"]["uid"] for scaled in found}
        self._history = {uid: history for uid, history in self._history.items() if uid in there}
        for scaled in found:
            try:
                await self._look_at(scaled)
            except Exception:  # one broken object must not stop the others
                log.exception("scaledobject=<%s> | is tried again", scaled["metadata"]["name"])

    async def _look_at(self, scaled: Object) -> None:
        meta, target = scaled["metadata"], scaled["spec"]["scaleTargetRef"]["name"]
        deployment = self._store.get("Deployment", meta["namespace"], target)
        now = deployment["spec"]["replicas"] if deployment else 0
        if not deployment or not now:  # a stopped release stays stopped
            self._history.pop(meta["uid"], None)
            return
        load = await self._load(deployment)
        decision = decide(scaling_of(scaled), self._history.get(meta["uid"], ()), load, now, self._clock())
        self._history[meta["uid"]] = decision.history
        if decision.replicas != now and self._is_still(deployment, scaled):
            await self._rescale(deployment, decision.replicas, load)

    def _is_still(self, deployment: Object, scaled: Object) -> bool:
        """Return whether nothing changed while the pods were asked."""
        namespace = deployment["metadata"]["namespace"]
        now = self._store.get("Deployment", namespace, deployment["metadata"]["name"])
        same = now is not None and now["spec"]["replicas"] == deployment["spec"]["replicas"]
        return same and self._store.get("ScaledObject", namespace, scaled["metadata"]["name"]) is not None

    async def _rescale(self, deployment: Object, wanted: int, load: float | None) -> None:
        meta = deployment["metadata"]
        try:
            await self._scale(meta["namespace"], meta["name"], wanted)
        except NotFound:  # removed meanwhile
            return
        said = "the bounds" if load is None else f"{load:g} requests in all"
        self._node.events.record(deployment, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {said}")

    async def _load(self, deployment: Object) -> float | None:
        """Return the requests of all pods that serve, or None where one of them does not say."""
        pods = [pod for pod in self._pods_of(deployment) if pod_ready(pod)]
        try:
            read = [await asyncio.to_thread(self._read, pod) for pod in pods]
        except EngineUnavailable:
            return None
        return sum(read) if read else None

    def _pods_of(self, deployment: Object) -> list[Object]:
        meta = deployment["metadata"]
        return [p for p in self._store.list("Pod", meta["namespace"]) if is_owned_by(p, "Deployment", meta["name"])]
