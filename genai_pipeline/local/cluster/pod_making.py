"""New pods, whatever owns them."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping
from typing import Any

from genai_pipeline.local.cluster.node import Node
from genai_pipeline.local.cluster.object_files import key_of
from genai_pipeline.local.cluster.objects import Object, timestamp

LETTERS = "bcdfghjklmnpqrstvwxz2456789"
POD_NAME_MAX = 63
"""A pod's name is its host name."""


def random_letters() -> str:
    return "".join(random.choices(LETTERS, k=5))


def free_address(node: Node, spec: Mapping[str, Any]) -> str:
    """An address that no pod has, and on which the containers' ports are free."""
    ports = [p["containerPort"] for c in spec["containers"] for p in c.get("ports") or []]
    return node.addresses.pod({p["status"]["podIP"] for p in node.store.list("Pod")}, ports)


def end_pod(node: Node, pod: Object) -> None:
    """Mark the pod for deletion, at the latest after its grace period."""
    grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
    until = timestamp(time.time() + grace)
    node.store.update(key_of(pod), lambda p: p | {"metadata": p["metadata"] | {"deletionTimestamp": until}})


def new_pod(
    node: Node,
    name: str,
    namespace: str,
    owner: Mapping[str, str],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    spec: Mapping[str, Any],
    address: str,
) -> Object:
    """`name` is what comes before the random letters; what is too long of it is cut off."""
    suffix = f"-{random_letters()}"
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name[: POD_NAME_MAX - len(suffix)] + suffix,
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": timestamp(time.time()),
            "labels": dict(labels),
            "annotations": dict(annotations),
            "ownerReferences": [dict(owner)],
        },
        "spec": dict(spec),
        "status": {"phase": "Pending", "podIP": address, "hostIP": "127.0.0.1"},
    }
    return node.store.put(pod)
