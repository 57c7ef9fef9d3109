"""Proves the GPU pool with two pods: one that must not land on it, and one that Karpenter must start a node for.

The answers are those of the scheduler and of Karpenter, read from the pods' events. A probe is always removed: at the
end, by a rerun that finds it, or by its own `activeDeadlineSeconds`.
"""

from __future__ import annotations

import hashlib
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
from genai_pipeline.gateways.cluster.pods import has_ended
from genai_pipeline.k8s.placement import gpu_in_words, gpu_resources, node_selector, tolerations
from genai_pipeline.k8s.templating import render_template
from genai_pipeline.rollout.pools.node_labels import NODE_POOL

PROBE_LABEL = "genai-pipeline/probe"
FENCE_DEADLINE_S = 30.0
NODE_DEADLINE_S = 600.0
REFUSED_FOR_S = 8.0
"""For so long Karpenter has to refuse. Right after an apply it may not know the pool yet."""
GONE_DEADLINE_S = 30.0
LOOK_S = 1.0
KARPENTER_SAYS_NO = "Failed to schedule pod"


@dataclass(frozen=True)
class ProbeAnswer:
    """What the scheduler and Karpenter said of a probe so far; empty strings for nothing.

    Args:
        node: where the probe landed.
        nominated: Karpenter's promise of a node.
        scheduler, karpenter: their last refusal.
        rows: all events.
    """

    node: str
    nominated: str
    scheduler: str
    karpenter: str
    rows: Sequence[dict[str, str]]


class NodeProbe:
    """Runs the two probes.

    Args:
        fence_deadline_s, node_deadline_s: seconds to wait for the answers.
        refused_for_s: seconds for which Karpenter has to refuse before the refusal counts.
    """

    def __init__(
        self,
        cluster: Cluster,
        profile: Profile,
        fence_deadline_s: float = FENCE_DEADLINE_S,
        node_deadline_s: float = NODE_DEADLINE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        refused_for_s: float = REFUSED_FOR_S,
    ) -> None:
        self._cluster, self._profile = cluster, profile
        self._fence_deadline_s, self._node_deadline_s = fence_deadline_s, node_deadline_s
        self._refused_for_s, self._sleep, self._clock = refused_for_s, sleep, clock

    def fence(self, pool: str) -> Verdict:
        """Return gpu_pool_fenced: a pod that selects the pool and does not tolerate its taint stays Pending."""
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
        """Return gpu_node_comes: a pod that tolerates the taint and requests the GPUs of one replica gets a node."""
        check, asked = "gpu_node_comes", gpu_in_words(gpu, self._profile)
        started = self._clock()
        with self._running(_probe_of(gpu), lambda name: self._gpu_pod(name, gpu)) as name:
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
        why = f"no node came within {seconds:g} s ({said.scheduler or 'the scheduler said nothing'})"
        return inconclusive(check, f"{asked}: {why}. Is Karpenter running?", events=said.rows)

    def _settled(self) -> Callable[[ProbeAnswer], bool]:
        refused_since: list[float] = []

        def settled(said: ProbeAnswer) -> bool:
            if said.node or said.nominated or not said.karpenter:
                refused_since.clear()
                return bool(said.node)
            refused_since.append(self._clock())
            return self._clock() - refused_since[0] >= self._refused_for_s

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
        return _pod(self._profile, name, "fence", {NODE_POOL: pool}, None, self._fence_deadline_s)

    def _gpu_pod(self, name: str, gpu: Gpu) -> dict[str, Any]:
        return probe_pod(self._profile, gpu, name, self._node_deadline_s)

    def _left_over(self, probe: str) -> str | None:
        """Return a probe of an earlier run that still waits; probes that have ended are removed."""
        found = self._cluster.list("Pod", {PROBE_LABEL: probe})
        alive = [p["metadata"]["name"] for p in found if not _ended(p)]
        for pod in found:
            if pod["metadata"]["name"] not in alive[:1]:
                self._cluster.delete("Pod", pod["metadata"]["name"], GONE_DEADLINE_S)
        return alive[0] if alive else None

    def _wait(self, pod: str, deadline_s: float, settled: Callable[[ProbeAnswer], bool]) -> ProbeAnswer:
        end = self._clock() + deadline_s
        while True:
            said = probe_answer(self._cluster.events("Pod", pod))
            if settled(said) or self._clock() >= end:
                return said
            self._sleep(LOOK_S)


def probe_pod(profile: Profile, gpu: Gpu, name: str, deadline_s: float = NODE_DEADLINE_S) -> dict[str, Any]:
    """Return the pod that asks for a GPU node: it selects, tolerates and requests what one engine replica does."""
    return _pod(profile, name, _probe_of(gpu), node_selector(gpu, profile), gpu, deadline_s)


def probe_answer(events: Sequence[ClusterEvent]) -> ProbeAnswer:
    """Return what the scheduler and Karpenter said about one pod. `events`: newest last."""
    refusals = [e.message for e in events if e.reason == "FailedScheduling"]
    landed = [e.message for e in events if e.reason == "Scheduled"]
    return ProbeAnswer(
        node=landed[-1].rpartition(" ")[2] if landed else "",
        nominated=next((e.message for e in reversed(events) if e.reason == "Nominated"), ""),
        scheduler=next((m for m in reversed(refusals) if not m.startswith(KARPENTER_SAYS_NO)), ""),
        karpenter=next((m for m in reversed(refusals) if m.startswith(KARPENTER_SAYS_NO)), ""),
        rows=[{"reason": e.reason, "message": e.message} for e in events],
    )


def _pod(
    profile: Profile, name: str, probe: str, selector: Mapping[str, str], gpu: Gpu | None, deadline_s: float
) -> dict[str, Any]:
    asked: dict[str, Any] = {"gpus": gpu_resources(gpu), "tolerations": tolerations(gpu)}
    values: dict[str, Any] = {"name": name, "probe": probe, "node_selector": dict(selector), **asked}
    return render_template("probe_pod.yaml", profile, deadline_s=int(deadline_s), **values)[0]


def _probe_of(gpu: Gpu) -> str:
    """Return the label of the probes for such a node. Two models that select other nodes share no probe."""
    name = f"gpu-{gpu.instance_family}-{gpu.count}"
    further = gpu.model_dump_json(include={"resource", "selector", "tolerations"}, exclude_defaults=True)
    return name if further == "{}" else f"{name}-{hashlib.sha256(further.encode()).hexdigest()[:6]}"


def _ended(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in pod["metadata"] or has_ended(pod)
