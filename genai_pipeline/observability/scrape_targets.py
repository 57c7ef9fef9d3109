"""What a Prometheus without an operator scrapes: the targets that the pipeline's PodMonitors choose among pods.

The same objects decide on a cluster, where the operator reads them. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]
_ENDED = ("Succeeded", "Failed")


def targets_of(monitors: Sequence[Object], pods: Sequence[Object]) -> list[dict[str, Any]]:
    """Return the targets with their labels, as Prometheus' HTTP discovery reads them.

    Args:
        monitors: PodMonitors; other kinds are left out.
        pods: of their namespace.
    """
    return [
        target
        for monitor in monitors
        if monitor["kind"] == "PodMonitor"
        for pod in pods
        if _selects(monitor["spec"]["selector"], pod["metadata"].get("labels") or {}) and _may_answer(pod)
        for target in _targets(monitor, pod)
    ]


def _may_answer(pod: Object) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP")) and status.get("phase") not in _ENDED


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(wanted, labels) for wanted in selector.get("matchExpressions") or ())


def _holds(wanted: Object, labels: Mapping[str, str]) -> bool:
    value, values = labels.get(wanted["key"]), wanted.get("values") or ()
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[wanted["operator"]]


def _targets(monitor: Object, pod: Object) -> Iterator[dict[str, Any]]:
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if port.get("name") == endpoint["port"]:
                    labels = _labels(monitor, endpoint, pod) | {"container": container["name"]}
                    yield {"targets": [f"{pod['status']['podIP']}:{port['containerPort']}"], "labels": labels}


def _labels(monitor: Object, endpoint: Object, pod: Object) -> dict[str, str]:
    meta = monitor["metadata"]
    found = {
        "job": f"{meta['namespace']}/{meta['name']}",
        "namespace": pod["metadata"]["namespace"],
        "pod": pod["metadata"]["name"],
        "endpoint": endpoint["port"],
        "__metrics_path__": endpoint.get("path", "/metrics"),
    }
    known = {_meta_label(key): value for key, value in (pod["metadata"].get("labels") or {}).items()}
    for rule in endpoint.get("relabelings") or ():
        values = [known.get(name, "") for name in rule["sourceLabels"]]
        found[rule["targetLabel"]] = rule.get("separator", ";").join(values)
    return found


def _meta_label(key: str) -> str:
    """Return the name by which relabelling knows a pod's label."""
    return f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}"
