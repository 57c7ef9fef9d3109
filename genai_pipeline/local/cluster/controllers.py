"""Deployments make pods; pods whose owner is gone are deleted."""

from __future__ import annotations

import random
import time
import uuid

from genai_pipeline.gateways.cluster.pods import is_owned_by
from genai_pipeline.local.cluster import deployments
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.object_files import key_of
from genai_pipeline.local.cluster.objects import (
    HASH_LABEL,
    Object,
    template_hash,
    terminating,
    timestamp,
)

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
POD_NAME_MAX = 63
"""A pod's name is its host name."""


class Controllers:
    def __init__(self, node: Node) -> None:
        self._node, self._store = node, node.store

    def sync(self) -> bool:
        """One round over every Deployment; True if it made or ended a pod."""
        acted = self._collect_garbage()
        for deployment in self._store.list("Deployment"):
            acted |= self._sync_one(deployment)
        return acted

    def end(self, pod: Object) -> None:
        """Mark the pod for deletion, at the latest after its grace period."""
        grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
        until = timestamp(time.time() + grace)
        self._store.update(key_of(pod), lambda p: p | {"metadata": p["metadata"] | {"deletionTimestamp": until}})

    def _sync_one(self, deployment: Object) -> bool:
        now = time.time()
        step = deployments.next_changes(deployment, self._pods_of(deployment), now)
        for pod in step.delete:
            self._node.events.record(deployment, "Normal", "ScalingDown", f"Deleting pod {pod['metadata']['name']}")
            self.end(pod)
        for _ in range(step.create):
            pod = self._create_pod(deployment)
            self._node.events.record(deployment, "Normal", "ScalingUp", f"Created pod {pod['metadata']['name']}")
        status = deployments.status_of(deployment, self._pods_of(deployment), now)
        self._store.update(key_of(deployment), lambda d: d | {"status": status})
        return bool(step.create or step.delete)

    def _pods_of(self, deployment: Object) -> list[Object]:
        meta = deployment["metadata"]
        return [p for p in self._store.list("Pod", meta["namespace"]) if is_owned_by(p, "Deployment", meta["name"])]

    def _create_pod(self, deployment: Object) -> Object:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        digest = template_hash(template)
        suffix = f"-{digest}-{''.join(random.choices(_LETTERS, k=5))}"
        given = template.get("metadata") or {}
        ports = [p["containerPort"] for c in template["spec"]["containers"] for p in c.get("ports") or []]
        used = {p["status"]["podIP"] for p in self._store.list("Pod")}
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": meta["name"][: POD_NAME_MAX - len(suffix)] + suffix,
                "namespace": meta["namespace"],
                "uid": str(uuid.uuid4()),
                "creationTimestamp": timestamp(time.time()),
                "labels": (given.get("labels") or {}) | {HASH_LABEL: digest},
                "annotations": given.get("annotations") or {},
                "ownerReferences": [{"kind": "Deployment", "name": meta["name"], "uid": meta["uid"]}],
            },
            "spec": template["spec"],
            "status": {"phase": "Pending", "podIP": self._node.addresses.pod(used, ports), "hostIP": "127.0.0.1"},
        }
        return self._store.put(pod)

    def _collect_garbage(self) -> bool:
        deployments_by_uid = {d["metadata"]["uid"] for d in self._store.list("Deployment")}
        orphans = [
            pod
            for pod in self._store.list("Pod")
            if not terminating(pod)
            and not any(o["uid"] in deployments_by_uid for o in pod["metadata"]["ownerReferences"])
        ]
        for pod in orphans:
            self.end(pod)
        return bool(orphans)
