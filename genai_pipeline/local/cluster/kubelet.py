"""Runs the pods: one PodRunner each, against one view of supervisord per round."""

from __future__ import annotations

import asyncio
import logging

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.objects import containers_of, pod_ready, program_name
from genai_pipeline.local.cluster.pod_runner import PodRunner
from genai_pipeline.local.supervision.supervisor import ProcessInfo

log = logging.getLogger(__name__)


class Kubelet:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._runners: dict[str, PodRunner] = {}

    async def sync(self) -> None:
        """Raises ClusterUnavailable: supervisord does not answer."""
        processes = {p.name: p for p in await asyncio.to_thread(self._node.supervisor.all)}
        pods = self._node.store.list("Pod")
        uids = {pod["metadata"]["uid"] for pod in pods}
        for uid in self._runners.keys() - uids:
            self._runners.pop(uid).stop_probing()
        for pod in pods:
            runner = self._runners.setdefault(pod["metadata"]["uid"], PodRunner(self._node, pod))
            try:
                await runner.sync(processes)
            except GenaiError as error:
                log.warning("pod=<%s> | %s", pod["metadata"]["name"], error)
        await self._remove_orphans(processes)

    @property
    def settled(self) -> bool:
        """Every pod is ready: nothing is expected to change soon."""
        return all(pod_ready(pod) for pod in self._node.store.list("Pod"))

    def stop(self) -> None:
        """Stop watching; the processes go on."""
        for runner in self._runners.values():
            runner.stop_probing()

    async def _remove_orphans(self, processes: dict[str, ProcessInfo]) -> None:
        """Processes whose pod is no longer known: its object was removed while the daemon was down."""
        known = {program_name(p, c["name"]) for p in self._node.store.list("Pod") for c in containers_of(p)}
        for name in processes.keys() - known:
            if name.startswith("pod.") and await asyncio.to_thread(self._node.supervisor.info, name):
                log.warning("program=<%s> | has no pod and is removed", name)
                await asyncio.to_thread(self._node.supervisor.remove, name)
