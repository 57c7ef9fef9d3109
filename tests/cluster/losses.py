"""What may befall a pod: its node is lost, its node is drained, its memory runs out."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from kubernetes import client

from tests.cluster.machine.objects import api

Pod = dict[str, Any]


def lose(kubeconfig: Path, pod: Pod) -> None:
    """Delete a pod without its grace period, as the loss of its node does."""
    with api(kubeconfig) as connection:
        client.CoreV1Api(connection).delete_namespaced_pod(*_place(pod), grace_period_seconds=0)


def evict(kubeconfig: Path, pod: Pod) -> None:
    """Ask for its eviction, as the drain of a node does. Raises: ApiException: a budget forbids it."""
    name, namespace = _place(pod)
    with api(kubeconfig) as connection:
        body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name))
        client.CoreV1Api(connection).create_namespaced_pod_eviction(name, namespace, body)


def kill(pod: Pod) -> None:
    """End every process of a pod's containers at once, as the kernel does when memory runs out."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            ours = pod["metadata"]["uid"] in Path(f"/proc/{process.pid}/cgroup").read_text()
            if ours and process.name() != "pause":  # which holds the pod's network
                process.kill()


def _place(pod: Pod) -> tuple[str, str]:
    return pod["metadata"]["name"], pod["metadata"]["namespace"]
