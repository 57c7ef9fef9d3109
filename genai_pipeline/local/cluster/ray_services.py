"""RayServices: one Ray cluster each, whose pods start `ray`, and whose head is given the Serve applications.

A cluster is never replaced as a whole (`upgradeStrategy: None`). A head that is deleted comes back at its address, and
its workers find it there.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from typing import Any

from genai_pipeline.local.cluster import ray_pods, ray_status
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.object_files import key_of
from genai_pipeline.local.cluster.objects import Object, pod_ready, terminating, timestamp
from genai_pipeline.local.cluster.pod_making import end_pod, free_address, new_pod, random_letters
from genai_pipeline.local.cluster.ray_dashboard import ServeApplications, Wanted
from genai_pipeline.local.cluster.ray_pods import (
    CLUSTER_LABEL,
    DASHBOARD,
    GROUP_LABEL,
    PORTS_ANNOTATION,
    TOKEN_KEY,
    Group,
    Place,
)


class RayServices:
    def __init__(self, node: Node) -> None:
        self._node, self._store = node, node.store
        self._applications: dict[str, ServeApplications] = {}

    def sync(self) -> bool:
        """One round over every RayService; True if it made or ended a pod."""
        services = self._store.list("RayService")
        for uid in self._applications.keys() - {service["metadata"]["uid"] for service in services}:
            self._applications.pop(uid).stop()
        acted = [self._sync_one(service) for service in services]
        return any(acted)

    def stop(self) -> None:
        """Stop asking the dashboards; the pods go on."""
        for applications in self._applications.values():
            applications.stop()

    def _sync_one(self, service: Object) -> bool:
        if not ray_status.cluster_of(service):
            service = self._begin(service)
        name = ray_status.cluster_of(service)["rayClusterName"]
        groups = [(group, self._pods_of(service, {GROUP_LABEL: group.name})) for group in ray_pods.groups_of(service)]
        (head, heads), *workers = groups
        acted = self._sync_group(service, head, heads)
        if any(map(pod_ready, heads)):
            self._follow(service)
        # A head that is ready may still be starting its processes, and Ray gives each few seconds.
        if self._applications_of(service).are_given:
            for group, pods in workers:
                acted |= self._sync_group(service, group, pods)
        applications = self._applications_of(service).applications
        if ray_status.all_running(applications):
            self._serve_service(service, name)
        status = ray_status.status_of(service, self._pods_of(service), applications, time.time())
        self._store.update(key_of(service), lambda s: s | {"status": status})
        return acted

    def _begin(self, service: Object) -> Object:
        """Choose the cluster's name, token and the place of its head."""
        meta = service["metadata"]
        name = f"{meta['name']}-{random_letters()}"
        token = base64.b64encode(secrets.token_hex(32).encode()).decode()
        self._store.put(self._owned(service, "v1", "Secret", name) | {"data": {TOKEN_KEY: token}})
        head = ray_pods.groups_of(service)[0]
        status = ray_status.beginning(name, free_address(self._node, head.template["spec"]), self._free_ports())
        begun = self._store.update(key_of(service), lambda s: s | {"status": {"pendingServiceStatus": status}})
        assert begun is not None
        return begun

    def _sync_group(self, service: Object, group: Group, pods: list[Object]) -> bool:
        alive = [p for p in pods if not terminating(p)]
        surplus = sorted(alive, key=pod_ready)[: max(0, len(alive) - group.replicas)]
        for pod in surplus:
            end_pod(self._node, pod)
        # As KubeRay: a successor is made when the pod before has gone. A head's place is free again then, too.
        missing = group.replicas - len(pods)
        for _ in range(missing):
            pod = self._create_pod(service, group)
            reason = "CreatedHeadPod" if group.is_head else "CreatedWorkerPod"
            self._node.events.record(service, "Normal", reason, f"Created pod {pod['metadata']['name']}")
        return bool(surplus) or missing > 0

    def _create_pod(self, service: Object, group: Group) -> Object:
        meta, cluster = service["metadata"], ray_status.cluster_of(service)
        name, head = cluster["rayClusterName"], ray_status.head_of(service)
        address = head.address if group.is_head else free_address(self._node, group.template["spec"])
        ports = head.first_port if group.is_head else self._free_ports()
        place = Place(address, ports, head.gcs)
        return new_pod(
            self._node,
            f"{name}-head" if group.is_head else f"{name}-{group.name}-worker",
            meta["namespace"],
            meta["name"],
            {"kind": "RayCluster", "name": name, "uid": meta["uid"]},
            ray_pods.labels_of(name, group),
            ((group.template.get("metadata") or {}).get("annotations") or {}) | {PORTS_ANNOTATION: str(ports)},
            ray_pods.spec_of(service, name, group, place),
            address,
        )

    def _follow(self, service: Object) -> None:
        cluster = ray_status.cluster_of(service)
        secret = self._store.get("Secret", service["metadata"]["namespace"], cluster["rayClusterName"])
        token = base64.b64decode(secret["data"][TOKEN_KEY]).decode() if secret else ""
        url = f"http://{ray_status.head_of(service).address}:{DASHBOARD}"
        self._applications_of(service).follow(Wanted(url, token, ray_pods.local_serve_config(service)))

    def _applications_of(self, service: Object) -> ServeApplications:
        def report(kind: str, reason: str, message: str) -> None:
            self._node.events.record(service, kind, reason, message)

        return self._applications.setdefault(service["metadata"]["uid"], ServeApplications(report, self._node.wake))

    def _serve_service(self, service: Object, cluster: str) -> None:
        """KubeRay's own Service in front of all pods that serve."""
        made = self._owned(service, "v1", "Service", f"{service['metadata']['name']}-serve-svc")
        if self._store.get(*key_of(made)):
            return
        ports = [{"name": "serve", "port": 8000, "targetPort": ray_pods.serve_port(service)}]
        selector = {CLUSTER_LABEL: cluster, ray_pods.SERVE_LABEL: "true"}
        self._store.put(made | {"spec": {"selector": selector, "ports": ports}})

    def _pods_of(self, service: Object, labels: Mapping[str, str] | None = None) -> list[Object]:
        cluster = {CLUSTER_LABEL: ray_status.cluster_of(service)["rayClusterName"]}
        return self._store.list("Pod", service["metadata"]["namespace"], cluster | dict(labels or {}))

    def _free_ports(self) -> int:
        pods = [p["metadata"]["annotations"].get(PORTS_ANNOTATION) for p in self._store.list("Pod")]
        heads = [ray_status.head_of(s).first_port for s in self._store.list("RayService") if ray_status.cluster_of(s)]
        return self._node.addresses.ports({int(p) for p in pods if p} | set(heads), ray_pods.BLOCK)

    def _owned(self, service: Object, version: str, kind: str, name: str) -> dict[str, Any]:
        meta = service["metadata"]
        owner = {"kind": "RayService", "name": meta["name"], "uid": meta["uid"]}
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "uid": secrets.token_hex(16),
                "creationTimestamp": timestamp(time.time()),
                "generation": 1,
                "ownerReferences": [owner],
            },
        }
