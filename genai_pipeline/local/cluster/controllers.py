"""Deployments make pods; pods whose owner is gone are deleted."""

from __future__ import annotations

import time

from genai_pipeline.gateways.cluster.pods import is_owned_by
from genai_pipeline.local.cluster import deployments
from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.object_files import key_of
from genai_pipeline.local.cluster.objects import (
    HASH_LABEL,
    Object,
    template_hash,
    terminating,
)
from genai_pipeline.local.cluster.pod_making import end_pod, free_address, new_pod

NAME_MAX = 46
"""What is kept of a Deployment's name: a pod's name has two hashes, too."""


class Controllers:
    def __init__(self, node: Node) -> None:
        self._node, self._store = node, node.store
        self._up_since = time.time()

    def sync(self) -> bool:
        """One round over every Deployment; True if it made or ended a pod."""
        acted = self._collect_garbage()
        for deployment in self._store.list("Deployment"):
            acted |= self._sync_one(deployment)
        return acted

    def _sync_one(self, deployment: Object) -> bool:
        now = time.time()
        step = deployments.next_changes(deployment, self._pods_of(deployment), now)
        for pod in step.delete:
            self._node.events.record(deployment, "Normal", "ScalingDown", f"Deleting pod {pod['metadata']['name']}")
            end_pod(self._node, pod)
        for _ in range(step.create):
            pod = self._create_pod(deployment)
            self._node.events.record(deployment, "Normal", "ScalingUp", f"Created pod {pod['metadata']['name']}")
        status = deployments.status_of(deployment, self._pods_of(deployment), now, self._up_since)
        self._store.update(key_of(deployment), lambda d: d | {"status": status})
        return bool(step.create or step.delete)

    def _pods_of(self, deployment: Object) -> list[Object]:
        meta = deployment["metadata"]
        return [p for p in self._store.list("Pod", meta["namespace"]) if is_owned_by(p, "Deployment", meta["name"])]

    def _create_pod(self, deployment: Object) -> Object:
        meta, template = deployment["metadata"], deployment["spec"]["template"]
        digest = template_hash(template)
        given = template.get("metadata") or {}
        return new_pod(
            self._node,
            f"{meta['name'][:NAME_MAX]}-{digest}",
            meta["namespace"],
            meta["name"],
            {"kind": "Deployment", "name": meta["name"], "uid": meta["uid"]},
            (given.get("labels") or {}) | {HASH_LABEL: digest},
            given.get("annotations") or {},
            template["spec"],
            free_address(self._node, template["spec"]),
        )

    def _collect_garbage(self) -> bool:
        """End the pods of owners that are gone, and remove what a RayService made beside them."""
        alive = {o["metadata"]["uid"] for kind in ("Deployment", "RayService") for o in self._store.list(kind)}

        def orphans(kind: str) -> list[Object]:
            return [o for o in self._store.list(kind) if (owners := _owners_of(o)) and not owners & alive]

        pods = [pod for pod in orphans("Pod") if not terminating(pod)]
        for pod in pods:
            end_pod(self._node, pod)
        # A pod that still ends needs its Secret.
        for obj in [*orphans("Service"), *([] if orphans("Pod") else orphans("Secret"))]:
            self._store.remove(key_of(obj))
        return bool(pods)


def _owners_of(obj: Object) -> set[str]:
    """The uids of the Deployment or RayService that made it. A user's own objects have others, or none."""
    references = obj["metadata"].get("ownerReferences") or []
    return {ref["uid"] for ref in references if ref["kind"] in ("Deployment", "RayService", "RayCluster")}
