"""Policies about the life of a pod, the nodes it lives on, and how the objects fit each other."""

from __future__ import annotations

import re

from genai_pipeline.k8s.engine import TEARDOWN_S
from tests.unit.k8s.everything import Object
from tests.unit.k8s.policies import Broken, containers, labels_of_pods, of_kind, pods, policy, serving

GPU = "nvidia.com/gpu"
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
CLUSTER_SCOPED = {
    "Namespace",
    "PriorityClass",
    "NodePool",
    "NodeClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "PersistentVolume",
}
SLOWEST_ANSWER_S = 30
RAY_AGENT = 52365
"""Where Ray's agent answers probes. It has no name, because no Service leads there."""


# -- the life of a pod


@policy
def every_probe_is_there(objects: list[Object]) -> Broken:
    for name, _, pod in serving(objects):
        for container in pod["containers"]:
            for probe in PROBES:
                if probe not in container:
                    yield f"{name}: no {probe}"


@policy
def no_probe_kills_what_still_loads(objects: list[Object]) -> Broken:
    for name, manifest, pod in serving(objects):
        for container in pod["containers"]:
            patience = _patience_s(container.get("startupProbe", {}))
            if patience <= manifest["spec"].get("progressDeadlineSeconds", 0):
                yield f"{name}: killed after {patience} s, before the wait for it ends"
            if _patience_s(container.get("livenessProbe", {})) < SLOWEST_ANSWER_S:
                yield f"{name}: killed for one slow answer"


def _patience_s(probe: Object) -> int:
    return probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3)


def _stop_delay_s(container: Object) -> int:
    """Seconds that it goes on serving after it was asked to stop: asleep, or until it has drained."""
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "httpGet" in hook:
        return int(re.search(r"least=(\d+)", hook["httpGet"]["path"])[1])  # type: ignore[index]
    return hook.get("sleep", {}).get("seconds", 0)


@policy
def requests_can_end(objects: list[Object]) -> Broken:
    for name, _, pod in serving(objects):
        grace = pod.get("terminationGracePeriodSeconds", 30)
        for container in pod["containers"]:
            delay = _stop_delay_s(container)
            drain = next((int(a.split("=")[1]) for a in container.get("args", []) if "--shutdown-timeout=" in a), None)
            if container["name"] == "engine" and not drain:
                yield f"{name}: SIGTERM aborts what runs"
            if grace <= delay or (drain and grace < delay + drain + TEARDOWN_S):
                yield f"{name}: killed after {grace} s, while it still answers"


@policy
def nodes_hear_of_a_stop_first(objects: list[Object]) -> Broken:
    for name, _, pod in serving(objects):
        for container in pod["containers"]:
            if _stop_delay_s(container) < 1:
                yield f"{name}: stops at once, while connections still come"


@policy
def a_new_pod_comes_before_the_old_one_goes(objects: list[Object]) -> Broken:
    for name, manifest, pod in serving(objects):
        claims = [v.get("persistentVolumeClaim", {"readOnly": True}) for v in pod.get("volumes", [])]
        if not all(claim.get("readOnly") for claim in claims):
            continue  # what it writes belongs to one pod
        strategy = manifest["spec"].get("strategy", {})
        rolling = strategy.get("rollingUpdate", {})
        if strategy.get("type") != "RollingUpdate" or rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            yield f"{name}: its strategy takes the serving pod away"


@policy
def services_do_not_leak_into_environments(objects: list[Object]) -> Broken:
    for name, _, pod in pods(objects):
        if pod.get("enableServiceLinks") is not False:
            yield f"{name}: gets variables of every Service"


# -- nodes


@policy
def gpus_are_tolerated_exactly_where_they_are_asked_for(objects: list[Object]) -> Broken:
    for name, _, pod in pods(objects):
        limits = [name for c in pod["containers"] for name in c.get("resources", {}).get("limits", {})]
        asked = any(limit.startswith("nvidia.com/") for limit in limits)
        keys = [t.get("key") for t in pod.get("tolerations", [])]
        if None in keys:
            yield f"{name}: tolerates every taint"
        if asked != (GPU in keys):
            yield f"{name}: asks for a GPU: {asked}; tolerates the fence: {GPU in keys}"


@policy
def pools_are_fenced_and_bounded(objects: list[Object]) -> Broken:
    for name, pool in of_kind(objects, "NodePool"):
        spec = pool["spec"]["template"]["spec"]
        families = [v for r in spec["requirements"] for v in r["values"] if r["key"].endswith(("-family", "-category"))]
        fence = {"key": GPU, "value": "true", "effect": "NoSchedule"}
        if any(f[0] in "gp" for f in families) and fence not in spec.get("taints", []):
            yield f"{name}: GPU nodes without the fence"
        if not pool["spec"].get("limits"):
            yield f"{name}: no limit"


@policy
def consolidation_takes_no_serving_gpu_node(objects: list[Object]) -> Broken:
    for name, pool in of_kind(objects, "NodePool"):
        disruption = pool["spec"].get("disruption", {})
        budgets = disruption.get("budgets", [])
        never = any(b["nodes"] == "0" and "Underutilized" in b.get("reasons", ["Underutilized"]) for b in budgets)
        if GPU in pool["spec"]["limits"] and (disruption.get("consolidationPolicy") != "WhenEmpty" or not never):
            yield f"{name}: consolidation may take a node that serves"
    budgets = [o["spec"] for _, o in of_kind(objects, "PodDisruptionBudget") if o["spec"].get("maxUnavailable") == 1]
    for name, manifest, pod in serving(objects):
        labels = manifest["spec"]["template"]["metadata"]["labels"]
        if any(budget["selector"]["matchLabels"].items() <= labels.items() for budget in budgets):
            continue  # one at a time, and the others answer meanwhile
        stays = manifest["spec"]["template"]["metadata"].get("annotations", {})
        if pod.get("priorityClassName") and stays.get("karpenter.sh/do-not-disrupt") != "true":
            yield f"{name}: consolidation may move it"


# -- one with another


@policy
def every_selector_picks_a_pod(objects: list[Object]) -> Broken:
    labels = labels_of_pods(objects)

    def picks(selector: dict[str, str]) -> bool:
        return any(selector.items() <= pod.items() for pod in labels)

    for name, o in of_kind(objects, "Service"):
        if not picks(o["spec"]["selector"]):
            yield f"{name}: selects nothing"
    for name, o in of_kind(objects, "PodDisruptionBudget", "PodMonitor"):
        if not picks(o["spec"]["selector"]["matchLabels"]):
            yield f"{name}: selects nothing"
    for name, o in of_kind(objects, "NetworkPolicy"):
        if not picks(o["spec"]["podSelector"].get("matchLabels", {})):
            yield f"{name}: selects nothing"


@policy
def every_port_has_its_name(objects: list[Object]) -> Broken:
    named = {p["name"] for _, c in containers(objects) for p in c.get("ports", [])}
    wanted = [(name, p["targetPort"]) for name, o in of_kind(objects, "Service") for p in o["spec"]["ports"]]
    wanted += [
        (name, e["port"]) for name, o in of_kind(objects, "PodMonitor") for e in o["spec"]["podMetricsEndpoints"]
    ]
    wanted += [
        (n, c[p]["httpGet"]["port"]) for n, c in containers(objects) for p in PROBES if "httpGet" in c.get(p, {})
    ]
    for name, port in wanted:
        if port not in named and port != RAY_AGENT:
            yield f"{name}: no container has a port called {port}"


@policy
def what_a_pod_refers_to_is_rendered(objects: list[Object]) -> Broken:
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    for name, _, pod in pods(objects):
        for kind, field in (("ServiceAccount", "serviceAccountName"), ("PriorityClass", "priorityClassName")):
            if field in pod and (kind, pod[field]) not in names:
                yield f"{name}: there is no {kind} {pod[field]}"
    for name, pool in of_kind(objects, "NodePool"):
        ref = pool["spec"]["template"]["spec"]["nodeClassRef"]
        if ref["name"] != "default" and (ref["kind"], ref["name"]) not in names:
            yield f"{name}: there is no {ref['kind']} {ref['name']}"


@policy
def everything_says_who_manages_it_and_where_it_lives(objects: list[Object]) -> Broken:
    for o in objects:
        name, meta = f"{o['kind']} {o['metadata']['name']}", o["metadata"]
        if meta.get("labels", {}).get("app.kubernetes.io/managed-by") != "genai-pipeline":
            yield f"{name}: nobody manages it"
        if ("namespace" in meta) == (o["kind"] in CLUSTER_SCOPED):
            yield f"{name}: its namespace"


@policy
def names_are_within_bounds(objects: list[Object]) -> Broken:
    for o in objects:
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", o["metadata"]["name"]):
            yield f"{o['kind']} {o['metadata']['name']}: not a name"
