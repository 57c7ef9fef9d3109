"""What a RayService says of itself, in the words of KubeRay 1.5.1. Pure: objects in, status out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.gateways.cluster.pods import condition
from genai_pipeline.local.cluster.objects import Object, pod_ready, timestamp, transition
from genai_pipeline.local.cluster.ray_pods import DASHBOARD, SERVE_LABEL, Place

RUNNING = "RUNNING"
Applications = Mapping[str, Mapping[str, Any]]
"""Name -> what the head's dashboard says of it."""


def cluster_of(service: Object) -> Mapping[str, Any]:
    """The active one, else the one that is being made; empty before there is any."""
    status = service.get("status") or {}
    for which in ("activeServiceStatus", "pendingServiceStatus"):
        if (status.get(which) or {}).get("rayClusterName"):
            return status[which]
    return {}


def beginning(name: str, address: str, first_port: int) -> dict[str, Any]:
    """The status of a new cluster. A head that is replaced comes back where this says."""
    endpoints = {"gcs-server": str(first_port), "dashboard": str(DASHBOARD)}
    return {"rayClusterName": name, "rayClusterStatus": {"head": {"podIP": address}, "endpoints": endpoints}}


def head_of(service: Object) -> Place:
    """Return where the head is, or will be again."""
    status = cluster_of(service)["rayClusterStatus"]
    address, first_port = status["head"]["podIP"], int(status["endpoints"]["gcs-server"])
    return Place(address, first_port, f"{address}:{first_port}")


def all_running(applications: Applications) -> bool:
    return bool(applications) and all(app["status"] == RUNNING for app in applications.values())


def status_of(service: Object, pods: Sequence[Object], applications: Applications, now: float) -> dict[str, Any]:
    """`pods` are all of the cluster's."""
    before = service.get("status") or {}
    cluster = {**cluster_of(service), "applicationStatuses": _said(applications)}
    active = bool((before.get("activeServiceStatus") or {}).get("rayClusterName")) or all_running(applications)
    serving = [p for p in pods if active and pod_ready(p) and p["metadata"]["labels"].get(SERVE_LABEL) == "true"]
    status: dict[str, Any] = {
        "observedGeneration": service["metadata"]["generation"],
        "activeServiceStatus": cluster if active else {},
        "pendingServiceStatus": {} if active else cluster,
        "numServeEndpoints": len(serving),
        "conditions": [_ready(service, len(serving), now), _upgrading(service, active, now)],
    }
    status |= {"serviceStatus": "Running"} if serving else {}
    same = (
        "lastUpdateTime" in before
        and {key: value for key, value in before.items() if key != "lastUpdateTime"} == status
    )
    return status | {"lastUpdateTime": before["lastUpdateTime"] if same else timestamp(now)}


def _said(applications: Applications) -> dict[str, Any]:
    return {
        name: {
            "status": app["status"],
            "message": app.get("message", ""),
            "serveDeploymentStatuses": {
                deployment: {"status": said["status"], "message": said.get("message", "")}
                for deployment, said in (app.get("deployments") or {}).items()
            },
        }
        for name, app in applications.items()
    }


def _ready(service: Object, endpoints: int, now: float) -> dict[str, Any]:
    if endpoints:
        why = ("True", "NonZeroServeEndpoints", "Number of serve endpoints is greater than 0")
    elif condition(service, "Ready").get("reason") in ("NonZeroServeEndpoints", "ZeroServeEndpoints"):
        why = ("False", "ZeroServeEndpoints", "Number of serve endpoints dropped to 0")
    else:
        why = ("False", "Initializing", "RayService is initializing")
    return transition(service, "Ready", *why, now)


def _upgrading(service: Object, active: bool, now: float) -> dict[str, Any]:
    if active:
        why = ("NoPendingCluster", "Active Ray cluster exists and no pending Ray cluster")
    else:
        why = ("Initializing", "RayService is initializing")
    return transition(service, "UpgradeInProgress", "False", *why, now)
