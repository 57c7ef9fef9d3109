"""A RayService, its pods and its events, as KubeRay 1.5.1 and kubelet write them."""

from __future__ import annotations

from typing import Any

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from tests.fakes.world import ray_status

CLUSTER = "m-abcde"


def service(status: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    metadata = {"name": "m", "generation": 1, "resourceVersion": "5", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"kind": "RayService", "metadata": metadata | meta, "spec": {}, "status": status or {}}


def ray_pod(kind: str = "worker", ready: bool = False, **status: Any) -> dict[str, Any]:
    """A head or a worker. `status`: further fields, such as containerStatuses."""
    labels = {"ray.io/cluster": CLUSTER, "ray.io/node-type": kind, "ray.io/is-ray-node": "yes"}
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {
        "metadata": {"name": f"{CLUSTER}-{kind}-fghij", "labels": labels, "resourceVersion": "1"},
        "spec": {"nodeName": "n", "containers": []},
        "status": {"conditions": conditions, **status},
    }


def container(state: dict[str, Any], restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    found = {"name": "ray", "ready": False, "restartCount": restarts, "state": state, "image": "engine:1"}
    return found | ({"lastState": {"terminated": last}} if last else {})


def crashed(kind: str = "head", restarts: int = 1, reason: str = "Error", code: int = 1) -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason}
    return ray_pod(kind, containerStatuses=[container({"running": {}}, restarts, ended)])


def kuberay(reason: str, message: str, kind: str = "RayService", name: str = "m") -> ClusterEvent:
    return ClusterEvent("2026-01-01T00:00:01Z", kind, name, "Warning", reason, message)


def app(status: str, message: str = "", engine: tuple[str, str] | None = None) -> dict[str, Any]:
    """The status of a service whose application is not running."""
    return ray_status(CLUSTER, status, message, **({"engine": engine} if engine else {}))


BOTH = [ray_pod("head", ready=True), ray_pod("worker", ready=True)]
