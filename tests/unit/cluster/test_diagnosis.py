"""Causes that the objects themselves show: which wins, which is final, and what a slow but healthy pod is not."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.likeliest_cause import cause_of, refusal
from genai_pipeline.gateways.cluster.diagnosis.readiness import readiness_of
from tests.cluster.failing.engine_logs import FATAL, ORDINARY, PASSING


def deployment(refused: str = "") -> dict[str, Any]:
    conditions = [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refused}]
    status = {"observedGeneration": 1, "replicas": 1, "conditions": conditions if refused else []}
    return {"metadata": {"name": "m", "generation": 1}, "spec": {"replicas": 1}, "status": status}


def pod(restarts: int = 0, ended: dict[str, Any] | None = None, **state: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "reg/i:1", "ready": False, "restartCount": restarts, "state": state}
    container["lastState"] = {"terminated": ended} if ended else {}
    return {
        "metadata": {"name": "p", "creationTimestamp": "1", "labels": {"pod-template-hash": "t"}},
        "spec": {"nodeName": "n"},
        "status": {"containerStatuses": [container]},
    }


def event(reason: str, message: str, kind: str = "Pod", name: str = "p") -> ClusterEvent:
    return ClusterEvent("1", kind, name, "Warning", reason, message)


def said(one: dict[str, Any], *events: ClusterEvent) -> tuple[str, bool]:
    cause = cause_of(deployment(), Evidence([one], events))
    assert cause is not None
    assert cause.remedy
    return cause.what, cause.final


def test_a_healthy_pod_that_is_only_slow_has_no_cause_and_every_hope() -> None:
    slow = pod(running={"startedAt": "1"})

    assert cause_of(deployment(), Evidence([slow], [event("Pulled", "x"), event("Started", "y")], ORDINARY)) is None
    assert not readiness_of(
        deployment(), Evidence([slow], [event("Unhealthy", "Startup probe failed: refused")])
    ).hopeless


def pulling(message: str, reason: str = "ErrImagePull") -> dict[str, Any]:
    return pod(waiting={"reason": reason, "message": message})


@pytest.mark.parametrize(
    ("one", "what", "final"),
    [
        (pulling('rpc error: code = NotFound desc = "reg/i:1": not found'), "The registry has no image reg/i:1", True),
        (pulling("unexpected status: 401 Unauthorized"), "denies the image", True),
        (pulling("pull access denied, insufficient_scope: authorization failed"), "denies the image", True),
        (pulling("unexpected status: 503 Service Unavailable"), "does not answer", False),
        (pulling("dial tcp 10.0.0.1:443: i/o timeout"), "does not answer", False),
        (pulling("toomanyrequests: You have reached your pull rate limit"), "does not answer", False),
        (pulling("couldn't parse image name", "InvalidImageName"), "not a valid image name", True),
        (pulling("is not present with pull policy of Never", "ErrImageNeverPull"), "Never", True),
    ],
)
def test_an_image_is_given_up_only_where_the_registry_has_the_last_word(
    one: dict[str, Any], what: str, final: bool
) -> None:
    text, given_up = said(one)

    assert what in text
    assert given_up == final


def test_behind_a_back_off_the_failure_before_it_is_read() -> None:
    waits = pulling('Back-off pulling image "reg/i:1"', "ImagePullBackOff")
    told = event("Failed", 'Failed to pull image "reg/i:1": unexpected status: 502 Bad Gateway')

    assert said(waits)[1]
    assert not said(waits, told)[1]


@pytest.mark.parametrize(
    ("reason", "message", "what"),
    [
        ("CreateContainerConfigError", 'secret "hf" not found', "The Secret hf is missing"),
        ("CreateContainerConfigError", 'configmap "c" not found', "The ConfigMap c is missing"),
        ("CreateContainerConfigError", "couldn't find key k in Secret ns/hf", "The Secret hf has no key k"),
        ("CreateContainerConfigError", "container has runAsNonRoot and image will run as root", "would run as root"),
        ("RunContainerError", 'exec: "/bin/nope": stat /bin/nope: no such file', "/bin/nope cannot be started"),
        ("RunContainerError", "exec /bin/x: exec format error", "another processor"),
    ],
)
def test_a_configuration_that_cannot_work_is_final(reason: str, message: str, what: str) -> None:
    text, final = said(pod(waiting={"reason": reason, "message": message}))

    assert what in text
    assert final


def test_a_runtime_that_is_out_of_breath_leaves_hope() -> None:
    assert not said(pod(waiting={"reason": "CreateContainerError", "message": "context deadline exceeded"}))[1]


@pytest.mark.parametrize(
    ("one", "about", "what"),
    [
        (pod(running={}), event("Unhealthy", "Startup probe failed: 503"), "startup probe fails (Startup probe failed"),
        (pod(running={}), event("Unhealthy", "Readiness probe failed: 503"), "readiness probe fails"),
        (pod(running={}), event("Killing", "Container c failed liveness probe, will be restarted"), "liveness probe"),
        (pod(waiting={}), event("FailedMount", 'MountVolume.SetUp failed for volume "w" : x'), "The volume w cannot"),
        (pod(waiting={}), event("FailedCreatePodSandBox", "no network"), "sandbox: no network"),
        (pod(running={}), event("NodeNotReady", "Node is not ready"), "node is not ready"),
        (pod(running={}), event("Preempted", "Preempted by pod u on node n"), "preempted"),
        (pod(ended={"reason": "OOMKilled", "exitCode": 137}, waiting={}), event("BackOff", "x"), "OOMKilled"),
    ],
)
def test_what_may_pass_is_named_and_waited_for(one: dict[str, Any], about: ClusterEvent, what: str) -> None:
    text, final = said(one, about)

    assert what in text
    assert not final


@pytest.mark.parametrize(
    "killed",
    [event("Unhealthy", "Liveness probe failed: 503"), event("Killing", "Container engine failed liveness probe")],
)
def test_a_container_that_a_probe_kills_is_not_merely_unready(killed: ClusterEvent) -> None:
    unready = event("Unhealthy", "Readiness probe failed: 503")

    assert "liveness probe fails" in said(pod(restarts=3, running={}, ended={"exitCode": 137}), killed, unready)[0]
    assert "readiness probe fails" in said(pod(running={}), killed, unready)[0]


@pytest.mark.parametrize(
    ("probes", "ended", "what"),
    [
        (["livenessProbe"], {"exitCode": 137, "reason": "Error"}, "liveness probe fails and kills"),
        (["startupProbe"], {"exitCode": 143, "reason": "Error"}, "startup probe fails"),
        (["startupProbe", "livenessProbe"], {"exitCode": 137, "reason": "Error"}, "startup or the liveness probe"),
        (["livenessProbe"], {"exitCode": 137, "reason": "OOMKilled"}, "OOMKilled"),
    ],
)
def test_who_killed_a_container_is_known_without_an_event(probes: list[str], ended: dict[str, Any], what: str) -> None:
    killed = pod(restarts=3, running={}, ended=ended)
    killed["spec"]["containers"] = [{"name": "c"} | {key: {"exec": {}} for key in probes}]

    unready = event("Unhealthy", "Readiness probe failed: 503")
    assert what in said(killed)[0]
    assert what in said(killed, unready)[0]


@pytest.mark.parametrize(("probe", "code"), [("livenessProbe", 1), ("readinessProbe", 137)])
def test_a_container_that_ended_by_itself_was_not_killed_by_a_probe(probe: str, code: int) -> None:
    ended = pod(restarts=3, running={}, ended={"exitCode": code, "reason": "Error"})
    ended["spec"]["containers"] = [{"name": "c", probe: {"exec": {}}}]

    assert cause_of(deployment(), Evidence([ended])) is None


def test_a_missing_secret_volume_is_final_until_the_container_runs() -> None:
    told = event("FailedMount", 'MountVolume.SetUp failed for volume "w" : secret "s" not found')

    assert said(pod(waiting={"reason": "ContainerCreating"}), told)[1]
    assert cause_of(deployment(), Evidence([pod(running={})], [told])) is None


def test_an_evicted_pod_and_one_that_its_node_rejects_are_named() -> None:
    evicted = pod(running={}) | {"status": {"phase": "Failed", "reason": "Evicted", "message": "low on memory"}}
    rejected = pod(running={}) | {"status": {"phase": "Failed", "reason": "OutOfcpu", "message": "too much"}}

    assert said(evicted) == ("The pod was evicted: low on memory", False)
    assert said(rejected) == ("The node rejected the pod (OutOfcpu): too much", False)


def test_a_claim_whose_class_does_not_exist_is_final() -> None:
    waits = pod(running={})
    waits["spec"] = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "w"}}]}
    told = event("ProvisioningFailed", 'storageclass.storage.k8s.io "x" not found', "PersistentVolumeClaim", "w")
    other = event("ProvisioningFailed", 'storageclass.storage.k8s.io "x" not found', "PersistentVolumeClaim", "other")

    assert said(waits, told)[1]
    assert cause_of(deployment(), Evidence([waits], [other])) is None


@pytest.mark.parametrize(
    ("message", "what", "final"),
    [
        (
            'pods "p" is forbidden: exceeded quota: q, requested: cpu=2, used: cpu=1, limited: cpu=2',
            "exceeded: q",
            True,
        ),
        ('pods "p" is forbidden: failed quota: q: must specify limits.cpu for: c', "does not set: q: must", True),
        ('pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2', "maximum cpu usage", True),
        ('pods "p" is forbidden: violates PodSecurity "restricted:latest": privileged', "restricted:latest", True),
        ('error looking up service account n/a: serviceaccount "a" not found', "ServiceAccount is missing: n/a", True),
        ('pods "p" is forbidden: no PriorityClass with name top was found', "PriorityClass is missing: top", True),
        ('pod rejected: RuntimeClass "gvisor" not found', "RuntimeClass is missing: gvisor", True),
        ('admission webhook "w.io" denied the request: no', 'refuses the pod: "w.io"', True),
        ('failed calling webhook "w.io": connection refused', "does not answer", False),
    ],
)
def test_what_the_api_server_refuses_is_named(message: str, what: str, final: bool) -> None:
    cause = refusal(message)

    assert cause is not None
    assert what in cause.what
    assert cause.final == final
    assert bool(readiness_of(deployment(message), Evidence([])).hopeless) == final


@pytest.mark.parametrize(
    ("requested", "fields"),
    [
        ("requests.nvidia.com/gpu=1", "`serving.gpu.count`"),
        ("requests.cpu=8", "`serving.resources` or `serving.gpu.count`"),
        ("requests.cpu=8,requests.nvidia.com/gpu=1", "`serving.resources` or `serving.gpu.count`"),
    ],
)
def test_a_quota_leads_to_the_field_of_the_resource_that_is_short(requested: str, fields: str) -> None:
    cause = refusal(f'pods "p" is forbidden: exceeded quota: q, requested: {requested}, used: {requested}, limited: 0')

    assert cause is not None
    assert f"lower {fields} in the model file" in cause.remedy
    assert ("serving.resources" in cause.remedy) == ("serving.resources" in fields)


def test_a_quota_that_a_leaving_pod_gives_back_leaves_hope() -> None:
    full = deployment("exceeded quota: q, requested: cpu=2, used: cpu=2, limited: cpu=2")
    leaving = pod(running={})
    leaving["metadata"]["deletionTimestamp"] = "2"

    assert readiness_of(full, Evidence([])).hopeless
    assert not readiness_of(full, Evidence([leaving])).hopeless


def test_one_crash_is_enough_where_no_restart_helps_and_more_are_needed_elsewhere() -> None:
    crashed = pod(restarts=1, ended={"reason": "Error", "exitCode": 1}, waiting={"reason": "CrashLoopBackOff"})

    assert "mistrall" in readiness_of(deployment(), Evidence([crashed], logs=FATAL["parser"][0])).hopeless
    assert not readiness_of(deployment(), Evidence([crashed], logs=PASSING["s3-403"][0])).hopeless


def test_the_log_of_a_pod_that_never_crashed_is_no_reason_to_give_up() -> None:
    assert not readiness_of(deployment(), Evidence([pod(running={})], logs=FATAL["parser"][0])).hopeless


def test_a_cause_that_is_final_goes_before_one_that_may_pass() -> None:
    first = pod(ended={"reason": "OOMKilled", "exitCode": 137}, waiting={})
    second = pulling("not found")
    second["metadata"]["name"] = "q"

    cause = cause_of(deployment(), Evidence([first, second]))

    assert cause is not None
    assert cause.final
