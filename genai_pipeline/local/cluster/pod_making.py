"""New pods, whatever owns them."""

from __future__ import annotations

import random
import shutil
import time
import uuid
from collections.abc import Mapping
from itertools import count
from typing import Any

from genai_pipeline.local.cluster.container import SCRATCH_ANNOTATION
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
    family: str,
    owner: Mapping[str, str],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    spec: Mapping[str, Any],
    address: str,
) -> Object:
    """Make a pod.

    Args:
        name: what comes before the random letters; what is too long of it is cut off.
        family: name of what makes it and its successors, which take its place for emptyDirs.
    """
    scratch = {SCRATCH_ANNOTATION: _free_place(node, namespace, family)}
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
            "annotations": dict(annotations) | scratch,
            "ownerReferences": [dict(owner)],
        },
        "spec": dict(spec),
        "status": {"phase": "Pending", "podIP": address, "hostIP": "127.0.0.1"},
    }
    shutil.rmtree(node.context(pod).scratch, ignore_errors=True)  # of a pod that ended with the machine
    return node.store.put(pod)


def _free_place(node: Node, namespace: str, family: str) -> str:
    """The lowest number that no pod of the family has."""
    pods = node.store.list("Pod", namespace)
    taken = {(pod["metadata"].get("annotations") or {}).get(SCRATCH_ANNOTATION) for pod in pods}
    return next(place for place in (f"{family}.{number}" for number in count()) if place not in taken)
