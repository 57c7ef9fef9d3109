"""Every policy holds of everything that is rendered, and each goes red when what it guards is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.k8s import platform_policies, pod_policies  # noqa: F401, each adds its own to POLICIES
from tests.unit.k8s.everything import PROFILES, Object, everything, secret, templates_of
from tests.unit.k8s.everything import find_in as find
from tests.unit.k8s.policies import POLICIES


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", POLICIES)
def test_everything_that_is_rendered_keeps_the_policy(name, profile):
    assert list(POLICIES[name](everything(PROFILES[profile]))) == []


def engine(objects: list[Object], model: str = "tiny") -> Object:
    return find(objects, "Deployment", f"{model}-a")


def pod(objects: list[Object], model: str = "tiny") -> Object:
    return templates_of(engine(objects, model))[0]["spec"]


def container(objects: list[Object]) -> Object:
    return pod(objects)["containers"][0]


def put(value: Any, *path: Any) -> Callable[[Object], None]:
    """Set what lies at a path."""

    def do(inside: Any) -> None:
        for step in path[:-1]:
            inside = inside[step]
        inside[path[-1]] = value

    return do


def without(*path: Any) -> Callable[[Object], None]:
    def do(inside: Any) -> None:
        for step in path[:-1]:
            inside = inside[step]
        del inside[path[-1]]

    return do


Spoil = tuple[str, Callable[[list[Object]], Object], Callable[[Object], None]]


def role(objects: list[Object]) -> Object:
    return find(objects, "Role")


def pool(objects: list[Object]) -> Object:
    return find(objects, "NodePool", "gpu")


SPOILT: list[Spoil] = [
    ("images_name_a_version", container, put("vllm/vllm-openai:latest", "image")),
    ("images_name_a_version", container, put("registry:5000/vllm", "image")),
    ("memory_is_limited_and_asked_for", container, without("resources", "limits", "memory")),
    ("memory_is_limited_and_asked_for", container, without("resources", "requests", "cpu")),
    ("what_is_written_is_bounded", pod, put({}, "volumes", 0, "emptyDir")),
    ("what_is_written_is_bounded", pod, put({"name": "tmp", "persistentVolumeClaim": {}}, "volumes", 0)),
    ("caches_lie_where_it_can_be_written", container, put({"name": "HOME", "value": "/root"}, "env", 1)),
    ("nothing_is_privileged", pod, put(True, "hostNetwork")),
    ("nothing_is_privileged", pod, put({"name": "tmp", "hostPath": {"path": "/"}}, "volumes", 0)),
    ("nothing_is_privileged", container, put(True, "securityContext", "privileged")),
    ("nothing_is_privileged", container, without("securityContext", "allowPrivilegeEscalation")),
    ("every_capability_is_dropped", container, put(["NET_ADMIN"], "securityContext", "capabilities", "add")),
    ("every_capability_is_dropped", container, without("securityContext", "capabilities")),
    ("nobody_is_root", pod, without("securityContext", "runAsNonRoot")),
    ("nobody_is_root", pod, put(0, "securityContext", "runAsUser")),
    ("nobody_is_root", container, put(0, "securityContext", "runAsUser")),
    ("the_root_file_system_is_read_only", container, without("securityContext", "readOnlyRootFilesystem")),
    ("system_calls_are_filtered", pod, without("securityContext", "seccompProfile")),
    ("no_token_is_mounted", pod, without("automountServiceAccountToken")),
    ("no_token_is_mounted", lambda o: find(o, "ServiceAccount"), without("automountServiceAccountToken")),
    ("no_secret_stands_in_a_manifest", container, put({"name": "HF_TOKEN", "value": "x"}, "env", 1)),
    ("no_secret_stands_in_a_manifest", container, put(["--api-key=hf_" + "a" * 30], "args")),
    ("roles_are_narrow", role, put(["*"], "rules", 0, "verbs")),
    ("roles_are_narrow", role, put(["impersonate"], "rules", 0, "verbs")),
    ("roles_are_narrow", role, put(["pods/exec"], "rules", 0, "resources")),
    ("roles_are_narrow", role, put(["secrets"], "rules", 0, "resources")),
    (
        "the_namespace_enforces_restricted_pods",
        lambda o: find(o, "Namespace"),
        put("baseline", "metadata", "labels", "pod-security.kubernetes.io/enforce"),
    ),
    ("ingress_is_denied_unless_named", lambda o: find(o, "NetworkPolicy", "default"), put([{}], "spec", "ingress")),
    (
        "ingress_is_denied_unless_named",
        lambda o: find(o, "NetworkPolicy", "engine"),
        without("spec", "ingress", 0, "from"),
    ),
    (
        "ingress_is_denied_unless_named",
        lambda o: find(o, "NetworkPolicy", "scaled-a"),
        put([{"podSelector": {"matchLabels": {"a": "b"}}}], "spec", "ingress", 0, "from"),
    ),
    ("every_probe_is_there", container, without("livenessProbe")),
    ("no_probe_kills_what_still_loads", container, put(60, "startupProbe", "failureThreshold")),
    ("no_probe_kills_what_still_loads", container, put(1, "livenessProbe", "failureThreshold")),
    ("requests_can_end", pod, put(30, "terminationGracePeriodSeconds")),
    ("requests_can_end", container, put(["--model=x"], "args")),
    ("nodes_hear_of_a_stop_first", container, without("lifecycle")),
    (
        "a_new_pod_comes_before_the_old_one_goes",
        engine,
        put("25%", "spec", "strategy", "rollingUpdate", "maxUnavailable"),
    ),
    ("a_new_pod_comes_before_the_old_one_goes", engine, put({"type": "Recreate"}, "spec", "strategy")),
    ("services_do_not_leak_into_environments", pod, without("enableServiceLinks")),
    (
        "gpus_are_tolerated_exactly_where_they_are_asked_for",
        pod,
        put([{"key": "nvidia.com/gpu", "operator": "Exists"}], "tolerations"),
    ),
    ("gpus_are_tolerated_exactly_where_they_are_asked_for", pod, put([{"operator": "Exists"}], "tolerations")),
    ("gpus_are_tolerated_exactly_where_they_are_asked_for", lambda o: pod(o, "large"), without("tolerations")),
    ("pools_are_fenced_and_bounded", pool, without("spec", "template", "spec", "taints")),
    ("pools_are_fenced_and_bounded", lambda o: find(o, "NodePool", "general"), without("spec", "limits")),
    ("consolidation_takes_no_serving_gpu_node", pool, put([], "spec", "disruption", "budgets")),
    ("consolidation_takes_no_serving_gpu_node", pool, without("spec", "disruption", "consolidationPolicy")),
    (
        "consolidation_takes_no_serving_gpu_node",
        engine,
        without("spec", "template", "metadata", "annotations", "karpenter.sh/do-not-disrupt"),
    ),
    (
        "consolidation_takes_no_serving_gpu_node",
        lambda o: find(o, "PodDisruptionBudget", "tiny-agent-"),
        without("spec", "maxUnavailable"),
    ),
    ("every_selector_picks_a_pod", lambda o: find(o, "Service", "tiny"), put({"a": "b"}, "spec", "selector")),
    (
        "every_selector_picks_a_pod",
        lambda o: find(o, "PodDisruptionBudget"),
        put({"a": "b"}, "spec", "selector", "matchLabels"),
    ),
    (
        "every_selector_picks_a_pod",
        lambda o: find(o, "NetworkPolicy", "agent"),
        put({"matchLabels": {"a": "b"}}, "spec", "podSelector"),
    ),
    ("every_port_has_its_name", lambda o: find(o, "Service", "tiny"), put("web", "spec", "ports", 0, "targetPort")),
    ("every_port_has_its_name", lambda o: find(o, "PodMonitor"), put("web", "spec", "podMetricsEndpoints", 0, "port")),
    ("what_a_pod_refers_to_is_rendered", pod, put("urgent", "priorityClassName")),
    ("what_a_pod_refers_to_is_rendered", pod, put("nobody", "serviceAccountName")),
    ("what_a_pod_refers_to_is_rendered", pool, put("mine", "spec", "template", "spec", "nodeClassRef", "name")),
    ("everything_says_who_manages_it_and_where_it_lives", engine, without("metadata", "labels")),
    ("everything_says_who_manages_it_and_where_it_lives", engine, without("metadata", "namespace")),
    ("names_are_within_bounds", engine, put("a" * 64, "metadata", "name")),
]


@pytest.mark.parametrize(("name", "find_it", "spoil"), SPOILT, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(SPOILT)])
def test_a_policy_goes_red_when_what_it_guards_is_broken(name, find_it, spoil):
    objects = everything(PROFILES["eks"])

    spoil(find_it(objects))

    assert list(POLICIES[name](objects))


def test_a_rendered_secret_breaks_the_policy():
    assert list(POLICIES["no_secret_stands_in_a_manifest"]([secret(PROFILES["kubernetes"])]))


def test_every_policy_has_a_case_that_breaks_it():
    assert {name for name, _, _ in SPOILT} == set(POLICIES)
