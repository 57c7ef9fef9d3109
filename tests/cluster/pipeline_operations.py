"""What the pipeline asks of a cluster, each operation beside the verb that it needs."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from kubernetes import client

from genai_pipeline.cli.probe.pods_probe import probe_job
from genai_pipeline.core.errors import NotReady, Refused
from genai_pipeline.core.facts import CompileCache
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.kubernetes.kubernetes_cluster import KubernetesCluster
from genai_pipeline.k8s.cache_pin import render_cache_pin
from genai_pipeline.k8s.engine_autoscaler import SCALER_KINDS
from genai_pipeline.k8s.engine_cache import ENGINE_ACCESS, cache_name
from genai_pipeline.k8s.render import (
    render_agent,
    render_chat_ui,
    render_engine,
    render_engine_access,
    render_guards,
    render_monitoring,
    render_namespace,
    render_node_pools,
    render_platform,
    render_stable,
    render_store_access,
)
from tests.cluster.identities import kubectl
from tests.cluster.machine.cluster import until
from tests.cluster.machine.objects import api
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import MOUNTED, PROFILES, Object, probes

SPEC = model_with_tools(
    """
name: tiny
source: {hub: a/b}
serving:
  # No pool offers it: the pod stays Pending, so that a wait has to watch.
  gpu: {instance-family: nowhere, reservation: optional, reservation-terms: [{id: cr-0a}]}
""",
    "f",
)
RELEASE = Release.of(SPEC, "a" * 40)
RAY = model_with_tools("name: scaled\nsource: {hub: a/b}\nserving: {engine: ray}\n", "f")
ON_RAY = Release.of(RAY, "a" * 40)
FOLLOWS = model_with_tools("name: follows\nsource: {hub: a/b}\nserving: {replicas: {max: 3}}\n", "f")
FOLLOWS_ITS_LOAD = Release.of(FOLLOWS, "a" * 40)
WITH_VOLUME = Release.of(MOUNTED, "a" * 40)
ACCOUNT = "genai-pipeline"


@dataclass(frozen=True)
class World:
    """The pipeline's gateway with its own identity, and the administrator beside it."""

    admin: Path
    namespace: str
    profile: Profile
    kubeconfig: Path
    cluster: KubernetesCluster
    rules: list[Object]

    def remove(self, kind: str, name: str) -> None:
        kubectl(self.admin, "delete", kind, name, "-n", self.namespace, "--ignore-not-found", "--wait")

    @property
    def engine(self) -> list[Object]:
        return render_engine(SPEC, RELEASE, self.profile)

    def probe(self) -> Object:
        return next(probes(self.profile))

    def renamed(self, kind: str) -> Object:
        """One of our cluster-wide objects under a name of this test's own, so that no other test minds."""
        found = next(o for o in render_node_pools(self.profile, [SPEC]) if o["kind"] == kind)
        return found | {"metadata": found["metadata"] | {"name": self.namespace}}

    def allowed(self, verb: str, group: str, resource: str, name: str = "") -> bool:
        plural, _, sub = resource.partition("/")
        asked = {"verb": verb, "group": group, "resource": plural, "subresource": sub, "name": name}
        spec = {
            "user": f"system:serviceaccount:{self.namespace}:{ACCOUNT}",
            "resourceAttributes": asked | {"namespace": self.namespace},
        }
        with api(self.admin) as connection:
            return client.AuthorizationV1Api(connection).create_subject_access_review({"spec": spec}).status.allowed


Operation = Callable[[World], Any]


def baseline(world: World) -> list[Object]:
    """What the pipeline applies in a namespace, but for the pods that it removes again."""
    profile = world.profile
    return [
        *render_platform(profile),
        *render_monitoring(profile),
        *render_store_access(profile, "key", "secret"),
        *render_engine_access(profile, "token"),
        *render_cache_pin(RELEASE, profile, CompileCache(key="c" * 64, sha256="d" * 64)),
        *render_engine(SPEC, RELEASE, profile),
        *render_engine(RAY, ON_RAY, profile),
        *(o for o in render_engine(FOLLOWS, FOLLOWS_ITS_LOAD, profile) if o["kind"] in SCALER_KINDS),
        *render_agent(SPEC, RELEASE, profile, "http://engine"),
        *render_stable(RELEASE, profile, "engine"),
        *render_stable(RELEASE, profile, "agent"),
        *render_guards(RELEASE, profile),
        *render_chat_ui(profile, [SPEC]),
    ]


# -- the operations: each is one that the pipeline performs


def apply(kind: str, name: str = "", anew: bool = False) -> Operation:
    """Apply our object of a kind; `anew`: after the administrator took it away."""

    def do(world: World) -> None:
        found = next(o for o in baseline(world) if o["kind"] == kind and o["metadata"]["name"].startswith(name))
        if anew:
            world.remove(kind.lower(), found["metadata"]["name"])
        world.cluster.apply([found])

    return do


def wait_for_the_engine(world: World) -> None:
    """It never comes, and a wait that ends with a diagnosis was allowed all it asked for."""
    with pytest.raises(NotReady):
        world.cluster.wait_ready(RELEASE.object_name, 2)


def wait_for_the_engine_on_ray(world: World) -> None:
    with pytest.raises(NotReady):
        world.cluster.wait_ready(ON_RAY.object_name, 2, kind="RayService")


def delete_the_engine_on_ray(world: World) -> None:
    on_ray = [o for o in baseline(world) if o["kind"] == "RayService"]
    world.cluster.delete("RayService", ON_RAY.object_name, None)
    kubectl(world.admin, "wait", "--for=delete", "rayservice", ON_RAY.object_name, "-n", world.namespace)
    kubectl(world.admin, "apply", "--server-side", "--field-manager=genai-pipeline", "-f", "-", given=on_ray)


def make_and_remove(kind: str) -> Operation:
    """A volume or a claim that nothing uses. Kubernetes holds it for a moment, and the pipeline waits for its end."""

    def do(world: World) -> None:
        found = next(o for o in render_engine(MOUNTED, WITH_VOLUME, world.profile) if o["kind"] == kind)
        try:
            world.cluster.apply([found])
            world.cluster.delete(kind, found["metadata"]["name"], 20)
        finally:
            world.remove(kind, found["metadata"]["name"])

    return do


def delete_the_engine(world: World) -> None:
    world.cluster.apply(world.engine)
    world.cluster.delete("Deployment", RELEASE.object_name, 20)
    kubectl(world.admin, "apply", "--server-side", "--field-manager=genai-pipeline", "-f", "-", given=world.engine)
    until(lambda: world.cluster.list("Pod", world.engine[0]["spec"]["selector"]["matchLabels"]), "its pod", 20)


def delete_a_service(world: World) -> None:
    world.cluster.apply(render_chat_ui(world.profile, [])[1:])
    world.cluster.delete("Service", "chat-ui", 10)


def delete_a_service_that_lingers(world: World) -> None:
    """As one does whose load balancer is still being taken down."""
    kubectl(world.admin, "apply", "--server-side", "--field-manager=genai-pipeline", "-f", "-",
            given=render_chat_ui(world.profile, [])[1:])  # fmt: skip
    holding = json.dumps({"metadata": {"finalizers": ["example.com/held"]}})
    released = json.dumps({"metadata": {"finalizers": None}})
    kubectl(world.admin, "patch", "service", "chat-ui", "-n", world.namespace, "--type=merge", "-p", holding)
    try:
        with pytest.raises(NotReady):
            world.cluster.delete("Service", "chat-ui", 2)
    finally:
        kubectl(world.admin, "patch", "service", "chat-ui", "-n", world.namespace, "--type=merge", "-p", released)
        world.remove("service", "chat-ui")


def delete_what_lingers(kind: str) -> Operation:
    """An object of KEDA's stays until KEDA's operator lets it go."""

    def do(world: World) -> None:
        found = next(o for o in baseline(world) if o["kind"] == kind)
        who = (kind.lower(), found["metadata"]["name"], "-n", world.namespace, "--type=merge", "-p")
        world.cluster.apply([found])
        kubectl(world.admin, "patch", *who, json.dumps({"metadata": {"finalizers": ["example.com/held"]}}))
        try:
            with pytest.raises(NotReady):
                world.cluster.delete(kind, found["metadata"]["name"], 2)
        finally:
            kubectl(world.admin, "patch", *who, json.dumps({"metadata": {"finalizers": None}}))
            world.remove(kind.lower(), found["metadata"]["name"])

    return do


def uses_of_keda(kind: str, resource: str) -> dict[tuple[str, str], Operation]:
    return {
        (resource, "get"): lambda w: w.cluster.get(kind, FOLLOWS_ITS_LOAD.object_name),
        (resource, "list"): delete_what_lingers(kind),
        (resource, "watch"): delete_what_lingers(kind),
        (resource, "create"): apply(kind, anew=True),
        (resource, "patch"): apply(kind),
        (resource, "delete"): lambda w: w.cluster.delete(kind, FOLLOWS_ITS_LOAD.object_name, None),
    }


def read_logs(world: World) -> None:
    """Of a pod whose container is known; kubelet would say so, and here nobody else does."""
    pod = world.cluster.list("Pod")[0]["metadata"]["name"]
    states = [
        {"name": "engine", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": {"waiting": {}}}
    ]
    patch = json.dumps({"status": {"containerStatuses": states}})
    kubectl(
        world.admin, "patch", "pod", pod, "-n", world.namespace, "--subresource=status", "--type=merge", "-p", patch
    )
    told = world.cluster.logs({}, 5)
    if "the log cannot be read" in told:
        raise Refused(told)


def ask(method: str) -> Operation:
    def do(world: World) -> None:
        url = world.cluster.endpoint(RELEASE.object_name)
        answer = httpx.request(method, f"{url}/v1/models", timeout=10, trust_env=False)
        if answer.status_code == 403:
            raise Refused(answer.json()["message"])
        assert answer.status_code == 503  # nobody is behind it yet

    return do


def probe_the_fence(world: World) -> None:
    world.cluster.apply([world.probe()])
    world.cluster.delete("Pod", world.probe()["metadata"]["name"], 20)


def change_the_probe(world: World) -> None:
    kubectl(world.admin, "apply", "--server-side", "--field-manager=genai-pipeline", "-f", "-", given=[world.probe()])
    try:
        world.cluster.apply([world.probe()])
    finally:
        world.remove("pod", world.probe()["metadata"]["name"])


def question() -> Object:
    """Of `genai doctor --probe`; on a node that is not there, so that nothing runs."""
    asked: dict[str, Any] = {"image": "test/echo:1", "command": ["/none"], "env": [], "env_from": []}
    return probe_job(PROFILES["eks"], f"genai-doctor-{secrets.token_hex(3)}", "none", {}, {}, 60, **asked)


def ask_a_question(world: World) -> None:
    job = question() | {"metadata": question()["metadata"] | {"namespace": world.namespace}}
    world.cluster.apply([job])
    world.remove("job", job["metadata"]["name"])


def diff(kind: str, new: bool = False) -> Operation:
    """What platform/node_pools asks after it applied; a dry run needs the verbs of the apply."""

    def do(world: World) -> None:
        wanted = copy.deepcopy(world.renamed(kind))
        wanted["metadata"]["labels"]["changed"] = "yes"
        if new:
            wanted["metadata"]["name"] += "-new"
        assert world.cluster.diff([wanted])

    return do


def compare(kind: str) -> Operation:
    """What `genai doctor` asks: how does what is there differ from what we would apply?"""

    def do(world: World) -> None:
        found = next(o for o in copy.deepcopy(baseline(world)) if o["kind"] == kind)
        found["metadata"]["labels"]["changed"] = "yes"
        assert world.cluster.diff([found])

    return do


def headroom(world: World) -> None:
    world.cluster.headroom()


def listing(kind: str) -> Operation:
    return lambda world: world.cluster.list(kind)


USES: dict[tuple[str, str], Operation] = {
    ("deployments", "get"): lambda w: w.cluster.get("Deployment", RELEASE.object_name),
    ("deployments", "list"): wait_for_the_engine,
    ("deployments", "watch"): wait_for_the_engine,
    ("deployments", "create"): apply("Deployment", "chat-ui", anew=True),
    ("deployments", "patch"): lambda w: w.cluster.scale(RELEASE.object_name, 1),
    ("deployments", "delete"): delete_the_engine,
    ("services", "get"): lambda w: w.cluster.endpoint(RELEASE.object_name),
    ("services", "list"): listing("Service"),
    ("services", "watch"): delete_a_service_that_lingers,
    ("services", "create"): apply("Service", "chat-ui", anew=True),
    ("services", "patch"): apply("Service", "tiny"),
    ("services", "delete"): delete_a_service,
    ("services/proxy", "get"): ask("GET"),
    ("services/proxy", "create"): ask("POST"),
    ("pods", "list"): headroom,
    ("pods", "watch"): wait_for_the_engine,
    ("pods", "create"): probe_the_fence,
    ("pods", "patch"): change_the_probe,
    ("pods", "delete"): probe_the_fence,
    ("jobs", "create"): ask_a_question,
    ("jobs", "patch"): ask_a_question,
    ("jobs", "delete"): lambda w: w.cluster.delete("Job", "genai-doctor-none", None),
    ("pods/log", "get"): read_logs,
    ("events", "list"): lambda w: w.cluster.events("Deployment", RELEASE.object_name),
    ("events", "watch"): wait_for_the_engine,
    ("resourcequotas", "list"): headroom,
    ("secrets", "get"): lambda w: w.cluster.get("Secret", ENGINE_ACCESS),
    ("secrets", "create"): apply("Secret", anew=True),
    ("secrets", "patch"): apply("Secret"),
    ("configmaps", "create"): apply("ConfigMap", anew=True),
    ("configmaps", "patch"): apply("ConfigMap"),
    ("configmaps", "delete"): lambda w: w.cluster.delete("ConfigMap", cache_name(RELEASE), None),
    ("serviceaccounts", "get"): compare("ServiceAccount"),
    ("serviceaccounts", "create"): apply("ServiceAccount", "genai-engine", anew=True),
    ("serviceaccounts", "patch"): apply("ServiceAccount", "genai-engine"),
    ("networkpolicies", "get"): compare("NetworkPolicy"),
    ("networkpolicies", "create"): apply("NetworkPolicy", anew=True),
    ("networkpolicies", "patch"): apply("NetworkPolicy"),
    ("networkpolicies", "delete"): lambda w: w.cluster.delete("NetworkPolicy", ON_RAY.object_name, None),
    ("rayservices", "get"): lambda w: w.cluster.get("RayService", ON_RAY.object_name),
    ("rayservices", "list"): wait_for_the_engine_on_ray,
    ("rayservices", "watch"): wait_for_the_engine_on_ray,
    ("rayservices", "create"): apply("RayService", anew=True),
    ("rayservices", "patch"): apply("RayService"),
    ("rayservices", "delete"): delete_the_engine_on_ray,
    **uses_of_keda("ScaledObject", "scaledobjects"),
    **uses_of_keda("TriggerAuthentication", "triggerauthentications"),
    ("persistentvolumes", "list"): make_and_remove("PersistentVolume"),
    ("persistentvolumes", "watch"): make_and_remove("PersistentVolume"),
    ("persistentvolumes", "create"): make_and_remove("PersistentVolume"),
    ("persistentvolumes", "patch"): make_and_remove("PersistentVolume"),
    ("persistentvolumes", "delete"): make_and_remove("PersistentVolume"),
    ("persistentvolumeclaims", "list"): make_and_remove("PersistentVolumeClaim"),
    ("persistentvolumeclaims", "watch"): make_and_remove("PersistentVolumeClaim"),
    ("persistentvolumeclaims", "create"): make_and_remove("PersistentVolumeClaim"),
    ("persistentvolumeclaims", "patch"): make_and_remove("PersistentVolumeClaim"),
    ("persistentvolumeclaims", "delete"): make_and_remove("PersistentVolumeClaim"),
    ("poddisruptionbudgets", "get"): compare("PodDisruptionBudget"),
    ("poddisruptionbudgets", "create"): apply("PodDisruptionBudget", anew=True),
    ("poddisruptionbudgets", "patch"): apply("PodDisruptionBudget"),
    ("poddisruptionbudgets", "delete"): lambda w: w.cluster.delete("PodDisruptionBudget", RELEASE.agent_object_name),
    ("horizontalpodautoscalers", "get"): compare("HorizontalPodAutoscaler"),
    ("horizontalpodautoscalers", "create"): apply("HorizontalPodAutoscaler", anew=True),
    ("horizontalpodautoscalers", "patch"): apply("HorizontalPodAutoscaler"),
    ("horizontalpodautoscalers", "delete"): lambda w: w.cluster.delete(
        "HorizontalPodAutoscaler", RELEASE.agent_object_name
    ),
    ("podmonitors", "get"): compare("PodMonitor"),
    ("podmonitors", "create"): apply("PodMonitor", anew=True),
    ("podmonitors", "patch"): apply("PodMonitor"),
    ("namespaces", "get"): compare("Namespace"),
    ("namespaces", "patch"): lambda w: w.cluster.apply(render_namespace(w.profile)[:1]),
    ("priorityclasses", "get"): compare("PriorityClass"),
    ("priorityclasses", "patch"): apply("PriorityClass"),
    ("nodes", "list"): headroom,
    ("nodepools", "get"): diff("NodePool"),
    ("nodepools", "list"): headroom,
    ("nodepools", "create"): diff("NodePool", new=True),
    ("nodepools", "patch"): diff("NodePool"),
    ("nodeclasses", "get"): diff("NodeClass"),
    ("nodeclasses", "list"): listing("NodeClass"),
    ("nodeclasses", "create"): diff("NodeClass", new=True),
    ("nodeclasses", "patch"): diff("NodeClass"),
}
