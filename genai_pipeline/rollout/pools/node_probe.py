"""Two pods that prove the GPU pool: one that must not land on it, and one that a node must come for.

What counts is the scheduler's and Karpenter's own word, read from the pods' events. A probe is always removed: at the
end, by a rerun that finds one left over, and where nobody comes back by its own `activeDeadlineSeconds`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.model_spec import Gpu
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.verdict import Verdict, failed, inconclusive, passed
from genai_pipeline.gateways.cluster.abc import Cluster, ClusterEvent
from genai_pipeline.k8s.templating import render_template
from genai_pipeline.rollout.pools.auto_mode_labels import FAMILY, NODE_POOL

PROBE_LABEL = "genai-pipeline/probe"
FENCE_DEADLINE_S = 30.0
NODE_DEADLINE_S = 600.0
REFUSED_FOR_S = 8.0
"""So long Karpenter's no has to stand: right after a pool was applied it may not know it yet."""
GONE_DEADLINE_S = 30.0
LOOK_S = 1.0
KARPENTER_SAYS_NO = "Failed to schedule pod"


@dataclass(frozen=True)
class Answer:
    """What was said about a probe so far. `node` is where it landed; empty strings: nothing was said."""

    node: str
    nominated: str
    scheduler: str
    karpenter: str
    rows: Sequence[dict[str, str]]


class NodeProbe:
    """Args: deadlines are in seconds; `sleep` and `clock` are given by tests."""

    def __init__(
        self,
        cluster: Cluster,
        profile: Profile,
        fence_deadline_s: float = FENCE_DEADLINE_S,
        node_deadline_s: float = NODE_DEADLINE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._profile = cluster, profile
        self._fence_deadline_s, self._node_deadline_s = fence_deadline_s, node_deadline_s
        self._sleep, self._clock = sleep, clock

    def fence(self, pool: str) -> Verdict:
        """gpu_pool_fenced: a pod that asks for a node of the pool and does not tolerate its taint stays Pending."""
        check = "gpu_pool_fenced"
        with self._running("fence", lambda name: self._fence_pod(name, pool)) as name:
            said = self._wait(name, self._fence_deadline_s, lambda a: bool(a.node or a.nominated or a.karpenter))
        if said.node or said.nominated:
            why = f"landed on {said.node}" if said.node else f"was promised a node: {said.nominated}"
            return failed(check, f"A pod without the toleration {why}. Taint the nodes of {pool}.", events=said.rows)
        if not said.karpenter:
            why = f"Karpenter said nothing about it within {self._fence_deadline_s:g} s. Is it running?"
            return inconclusive(check, f"A pod without the toleration is Pending, but {why}", events=said.rows)
        return passed(check, f"A pod without the toleration was kept off {pool}: {said.karpenter}", events=said.rows)

    def provision(self, gpu: Gpu) -> Verdict:
        """gpu_node_comes: a pod that tolerates the taint and requests the GPUs of one replica gets a node."""
        check, asked = "gpu_node_comes", f"{gpu.count} GPU of {gpu.instance_family}"
        started = self._clock()
        with self._running(f"gpu-{gpu.instance_family}-{gpu.count}", lambda name: self._gpu_pod(name, gpu)) as name:
            said = self._wait(name, self._node_deadline_s, self._settled())
        seconds = round(self._clock() - started, 1)
        if said.node:
            how = "a new node came" if said.nominated else "it fits on a node that runs"
            return passed(
                check, f"{asked}: {how}, {said.node}, after {seconds:g} s.", events=said.rows, seconds=seconds
            )
        if said.nominated:
            why = f"{said.nominated}, but it was not there after {seconds:g} s"
            return inconclusive(check, f"{asked}: {why}. See its NodeClaim.", events=said.rows)
        if said.karpenter:
            return failed(check, f"{asked}: no node comes. {said.karpenter}", events=said.rows)
        why = f"nobody brought a node within {seconds:g} s ({said.scheduler or 'the scheduler is silent'})"
        return inconclusive(check, f"{asked}: {why}. Is Karpenter running?", events=said.rows)

    def _settled(self) -> Callable[[Answer], bool]:
        refused_since: list[float] = []

        def settled(said: Answer) -> bool:
            if said.node or said.nominated or not said.karpenter:
                refused_since.clear()
                return bool(said.node)
            refused_since.append(self._clock())
            return self._clock() - refused_since[0] >= REFUSED_FOR_S

        return settled

    @contextmanager
    def _running(self, probe: str, made: Callable[[str], dict[str, Any]]) -> Iterator[str]:
        name = self._left_over(probe) or f"genai-probe-{probe}-{secrets.token_hex(3)}"
        try:
            self._cluster.apply([made(name)])
            yield name
        finally:
            self._cluster.delete("Pod", name, GONE_DEADLINE_S)

    def _fence_pod(self, name: str, pool: str) -> dict[str, Any]:
        return _pod(self._profile, name, "fence", {NODE_POOL: pool}, 0, self._fence_deadline_s)

    def _gpu_pod(self, name: str, gpu: Gpu) -> dict[str, Any]:
        return probe_pod(self._profile, gpu, name, self._node_deadline_s)

    def _left_over(self, probe: str) -> str | None:
        """One that an earlier run left and that is as good as new; those that have ended are removed."""
        found = self._cluster.list("Pod", {PROBE_LABEL: probe})
        alive = [p["metadata"]["name"] for p in found if not _ended(p)]
        for pod in found:
            if pod["metadata"]["name"] not in alive[:1]:
                self._cluster.delete("Pod", pod["metadata"]["name"], GONE_DEADLINE_S)
        return alive[0] if alive else None

    def _wait(self, pod: str, deadline_s: float, settled: Callable[[Answer], bool]) -> Answer:
        end = self._clock() + deadline_s
        while True:
            said = answer_of(self._cluster.events("Pod", pod))
            if settled(said) or self._clock() >= end:
                return said
            self._sleep(LOOK_S)


def probe_pod(profile: Profile, gpu: Gpu, name: str, deadline_s: float = NODE_DEADLINE_S) -> dict[str, Any]:
    """The pod that asks for a GPU node: what an engine of one replica selects, tolerates and requests of GPUs."""
    probe = f"gpu-{gpu.instance_family}-{gpu.count}"
    return _pod(profile, name, probe, {FAMILY: gpu.instance_family}, gpu.count, deadline_s)


def answer_of(events: Sequence[ClusterEvent]) -> Answer:
    """What the scheduler and Karpenter said about one pod, newest word last. Pure."""
    refusals = [e.message for e in events if e.reason == "FailedScheduling"]
    landed = [e.message for e in events if e.reason == "Scheduled"]
    return Answer(
        node=landed[-1].rpartition(" ")[2] if landed else "",
        nominated=next((e.message for e in reversed(events) if e.reason == "Nominated"), ""),
        scheduler=next((m for m in reversed(refusals) if not m.startswith(KARPENTER_SAYS_NO)), ""),
        karpenter=next((m for m in reversed(refusals) if m.startswith(KARPENTER_SAYS_NO)), ""),
        rows=[{"reason": e.reason, "message": e.message} for e in events],
    )


def _pod(
    profile: Profile, name: str, probe: str, selector: Mapping[str, str], gpus: int, deadline_s: float
) -> dict[str, Any]:
    values: dict[str, Any] = {"name": name, "probe": probe, "node_selector": dict(selector), "gpus": gpus}
    return render_template("probe_pod.yaml", profile, deadline_s=int(deadline_s), **values)[0]


def _ended(pod: Mapping[str, Any]) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" in pod["metadata"] or phase in ("Succeeded", "Failed")
