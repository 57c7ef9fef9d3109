"""Every known failure of KubeRay, Ray and Serve is recognised from the texts that they write."""

from __future__ import annotations

from typing import Any

import pytest

from genai_pipeline.gateways.cluster.abc import ClusterEvent
from genai_pipeline.gateways.cluster.diagnosis.evidence import Evidence
from genai_pipeline.gateways.cluster.diagnosis.ray_causes import ray_cause
from tests.unit.cluster.ray_objects import BOTH, app, container, crashed, kuberay, ray_pod, service

HEAD = ray_pod("head", ready=True)
GAVE_UP = (
    "The deployment failed to start 3 times in a row. This may be due to a problem with its constructor or initial "
    "health check failing. See controller logs for details. Error:\n"
)
SLOW = (
    "Deployment 'engine' in application 'engine' has 1 replicas that have taken more than 30s to be scheduled. This "
    "may be due to waiting for the cluster to auto-scale or for a runtime environment to be installed. "
    "Resources required for each replica: {}, total resources available: {}. Use `ray status` for more details."
)
BUILDER = """Deploying app 'engine' failed with exception:
Traceback (most recent call last):
  File "/opt/ray/serve/_private/application_state.py", line 1690, in build_serve_application
    app = call_user_app_builder_with_args_if_necessary(import_attr(import_path), args)
{}
"""
VLLM = (
    "\x1b[36mray::ServeReplica:engine:engine.initialize_and_get_metadata()\x1b[39m (pid=1)\n"
    '  File "/etc/genai/genai_ray.py", line 80, in __init__\n{}\n'
)

KUBERAY = {
    "name": (
        kuberay(
            "InvalidRayServiceMetadata",
            "The RayService metadata is invalid genai/m: RayService name should be no more than 47 characters",
        ),
        ("refuses the name", "47 characters"),
        True,
    ),
    "spec": (
        kuberay(
            "InvalidRayServiceSpec",
            "The RayService spec is invalid genai/m: Spec.UpgradeStrategy.Type value x is invalid",
        ),
        ("refuses the RayService", "UpgradeStrategy"),
        True,
    ),
    "cluster spec": (
        kuberay(
            "InvalidRayClusterSpec",
            "The RayCluster spec is invalid genai/m-abcde: headGroupSpec should have at least one container",
            "RayCluster",
            "m-abcde",
        ),
        ("refuses the RayService", "at least one container"),
        True,
    ),
    "timeout": (
        kuberay(
            "RayServiceInitializingTimeout",
            "RayService initializing timeout exceeded after 5m1s (configured timeout: 5m)",
        ),
        ("gave the RayService up",),
        True,
    ),
    "service account": (
        kuberay(
            "AutoscalerServiceAccountNotFound",
            "Failed to reconcile RayCluster genai/m-abcde. If users specify ServiceAccountName for the head Pod, they "
            "need to create a ServiceAccount themselves. However, ServiceAccount genai-ray is not found.",
            "RayCluster",
            "m-abcde",
        ),
        ("ServiceAccount of the Ray head is missing", "genai-ray"),
        True,
    ),
    "autoscaler's rights": (
        kuberay(
            "FailedToCreateRole",
            'Failed creating role genai/m-abcde, roles.rbac.authorization.k8s.io "m-abcde" is forbidden: user '
            '"system:serviceaccount:kuberay:operator" is attempting to grant RBAC permissions not currently held',
            "RayCluster",
            "m-abcde",
        ),
        ("may not give the autoscaler its rights",),
        True,
    ),
    "configuration": (
        kuberay(
            "FailedToUpdateServeApplications",
            "Failed to update serve applications to the RayCluster genai/m-abcde: err: UpdateDeployments fail: "
            "400 Bad Request 1 validation error for ServeDeploySchema",
        ),
        ("Serve refuses the configuration", "validation error"),
        True,
    ),
    "dashboard": (
        kuberay(
            "FailedToUpdateServeApplications",
            "Failed to update serve applications to the RayCluster genai/m-abcde: Put "
            '"http://m-abcde-head-svc.genai.svc.cluster.local:8265/api/serve/applications/": dial tcp 10.96.0.9:8265: '
            "i/o timeout",
        ),
        ("cannot reach the dashboard", "i/o timeout"),
        False,
    ),
    "quota": (
        kuberay(
            "FailedToCreateWorkerPod",
            'Failed to create worker Pod for the cluster genai/m-abcde, pods "m-abcde-engine-worker-" is forbidden: '
            "exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=0",
            "RayCluster",
            "m-abcde",
        ),
        ("ResourceQuota is exceeded",),
        True,
    ),
    "webhook": (
        kuberay(
            "FailedToCreateHeadPod",
            'Failed to create head Pod genai/m-abcde-head, admission webhook "policy.example.com" denied the request: '
            "no",
            "RayCluster",
            "m-abcde",
        ),
        ("admission webhook refuses",),
        True,
    ),
    "cluster not made": (
        kuberay(
            "FailedToCreateRayCluster",
            'Failed to create the RayCluster genai/m-abcde: Internal error occurred: failed calling webhook "v": EOF',
        ),
        ("could not make an object",),
        False,
    ),
}


@pytest.mark.parametrize("case", KUBERAY)
def test_what_kuberay_says_becomes_a_cause(case: str) -> None:
    event, says, final = KUBERAY[case]

    cause = ray_cause(service(), Evidence([], [event]))

    assert cause
    assert cause.final is final
    assert cause.remedy
    for part in says:
        assert part in cause.what


SERVE: dict[str, tuple[dict[str, Any], str, bool]] = {
    "builder not importable": (
        app("DEPLOY_FAILED", BUILDER.format("ModuleNotFoundError: No module named 'genai_ray'")),
        "cannot import genai_ray",
        True,
    ),
    "no vLLM": (
        app("DEPLOY_FAILED", BUILDER.format("ModuleNotFoundError: No module named 'vllm'")),
        "no vLLM",
        True,
    ),
    "other error of the builder": (
        app("DEPLOY_FAILED", BUILDER.format("TypeError: build() got an unexpected argument")),
        "cannot build the application: TypeError",
        True,
    ),
    "configuration": (
        app(
            "DEPLOY_FAILED",
            'Traceback (most recent call last):\n  File "application_state.py", line 702, in apply_app_config\n'
            "    overrided_infos = override_deployment_info(\nValueError: Invalid route_prefix 'none', must start with",
        ),
        "Serve refuses the configuration of the application: ValueError: Invalid route_prefix 'none'",
        True,
    ),
    "runtime environment": (
        app("DEPLOY_FAILED", "Runtime env setup for app 'engine' failed:\nTraceback"),
        "runtime environment",
        True,
    ),
    "GPU memory": (
        app("DEPLOYING", engine=("UPDATING", GAVE_UP + VLLM.format("torch.OutOfMemoryError: CUDA out of memory."))),
        "GPU memory ran out",
        False,
    ),
    "GPU memory, given up": (
        app("DEPLOY_FAILED", engine=("DEPLOY_FAILED", GAVE_UP + VLLM.format("CUDA out of memory."))),
        "GPU memory ran out",
        True,
    ),
    "wrong argument": (
        app("DEPLOYING", engine=("UPDATING", VLLM.format("engine: error: unrecognized arguments: --max-lenght"))),
        "does not know an argument: --max-lenght",
        True,
    ),
    "missing weights": (
        app("DEPLOYING", engine=("UPDATING", VLLM.format("Cannot find any safetensors model weights with `s3://x`"))),
        "store does not have the object",
        False,
    ),
    "unknown error": (
        app("DEPLOY_FAILED", engine=("DEPLOY_FAILED", GAVE_UP + VLLM.format("ValueError: something new"))),
        "failed to start too often: ValueError: something new",
        True,
    ),
    "waits for a GPU": (
        app("DEPLOYING", engine=("UPDATING", SLOW.format('{"CPU": 1.0, "GPU": 1.0}', '{"CPU": 1.0}'))),
        "waits for GPU: 1 asked, 0 free",
        False,
    ),
    "waits for a CPU": (
        app("DEPLOYING", engine=("UPDATING", SLOW.format('{"CPU": 4.0}', '{"CPU": 2.0}'))),
        "waits for CPU: 4 asked, 2 free",
        False,
    ),
    "placement group pending": (
        app("DEPLOYING", engine=("UPDATING", SLOW.format('[{"CPU": 1.0, "GPU": 1.0}, {"GPU": 1.0}]', "{}"))),
        "placement group waits for 2 bundles",
        False,
    ),
    "placement group refused": (
        app("DEPLOYING", engine=("UPDATING", "Failed to create a placement group for Replica(id='x').")),
        "placement group cannot be made",
        False,
    ),
    "health check": (
        app(
            "UNHEALTHY",
            engine=(
                "UNHEALTHY",
                "A replica's health check failed. This deployment will be UNHEALTHY until the replica recovers or a "
                "new deploy happens.",
            ),
        ),
        "does not pass its health check",
        False,
    ),
    "replica died": (
        app("DEPLOYING", engine=("UPDATING", "The actor died unexpectedly before finishing this task.")),
        "died while it started",
        False,
    ),
    "port": (
        app("DEPLOYING", engine=("UPDATING", "RuntimeError: Failed to bind to address '0.0.0.0:8000'.")),
        "port that Serve listens on is taken: 0.0.0.0:8000",
        False,
    ),
}


@pytest.mark.parametrize("case", SERVE)
def test_what_serve_says_becomes_a_cause(case: str) -> None:
    status, says, final = SERVE[case]

    cause = ray_cause(service(status), Evidence(BOTH))

    assert cause
    assert says in cause.what
    assert cause.final is final
    assert cause.remedy


LOGS = {
    "raylet": (
        "Exception: The current node timed out during startup. This could happen because some of the raylet failed",
        "did not start within 30 s",
        False,
    ),
    "no Ray": ("/bin/bash: line 1: ray: command not found", "image has no Ray", True),
    "versions": (
        "RuntimeError: Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.11.2\n",
        "another Ray or Python than the head: 2.60.0",
        True,
    ),
    "Redis password": (
        "RuntimeError: Unable to connect to Redis at r:6379: WRONGPASS invalid username-password pair",
        "Redis refuses the password",
        True,
    ),
    "Redis": (
        "RuntimeError: Unable to connect to Redis at r:6379: Error 111 connecting to r:6379. Connection refused.",
        "Redis cannot be reached, which keeps the state of the Ray head: r:6379",
        False,
    ),
    "head unreachable": (
        "Unable to connect to GCS (ray head) at m-head-svc:6379. Check that (1) Ray with matching version started",
        "cannot reach the Ray head: m-head-svc:6379",
        False,
    ),
}


@pytest.mark.parametrize("case", LOGS)
def test_what_a_crashed_node_of_ray_logs_becomes_a_cause(case: str) -> None:
    log, says, final = LOGS[case]

    cause = ray_cause(service(), Evidence([crashed()], logs=log))

    assert cause
    assert says in cause.what
    assert cause.final is final


WAITING = ray_pod(initContainerStatuses=[container({"running": {}}) | {"name": "wait-gcs-ready"}])


def test_a_worker_that_waits_for_a_ready_head_cannot_reach_it() -> None:
    cause = ray_cause(service(), Evidence([HEAD, WAITING]))

    assert cause
    assert "cannot reach the Ray head" in cause.what
    assert "6379" in cause.remedy


def test_a_worker_that_waits_for_a_starting_head_has_no_cause_of_its_own() -> None:
    assert ray_cause(service(app("DEPLOYING")), Evidence([ray_pod("head"), WAITING])) is None


def test_a_head_that_used_too_much_memory_is_not_mended_by_the_resources_of_the_model_file() -> None:
    cause = ray_cause(service(), Evidence([crashed(reason="OOMKilled", code=137)]))

    assert cause
    assert "The Ray head: The container was OOMKilled" in cause.what
    assert "not `serving.resources`" in cause.remedy


def test_a_worker_that_used_too_much_memory_is() -> None:
    cause = ray_cause(service(), Evidence([HEAD, crashed("worker", reason="OOMKilled", code=137)]))

    assert cause
    assert "serving.resources.memory_gib" in cause.remedy


def test_workers_without_a_head_have_lost_it() -> None:
    cause = ray_cause(service(), Evidence([ray_pod("worker", ready=True)]))

    assert cause
    assert "head is gone" in cause.what
    assert "GENAI_RAY_REDIS" in cause.remedy


def made(pod: dict[str, Any], second: int) -> dict[str, Any]:
    return pod | {"metadata": pod["metadata"] | {"creationTimestamp": f"2026-01-01T00:00:{second:02}Z"}}


UNREACHABLE = kuberay("FailedToUpdateServeApplications", "Put http://m-head-svc:8265: context deadline exceeded")


def test_a_head_that_is_younger_than_a_worker_that_serves_succeeds_one_that_was_lost() -> None:
    pods = [made(ray_pod("head"), 9), made(ray_pod(ready=True), 1)]

    alone = ray_cause(service(app("DEPLOYING")), Evidence(pods, [UNREACHABLE]))
    kept = service() | {"spec": {"rayClusterConfig": {"gcsFaultToleranceOptions": {"redisAddress": "r:6379"}}}}
    with_redis = ray_cause(kept, Evidence(pods, [UNREACHABLE]))

    assert alone
    assert with_redis
    assert "GENAI_RAY_REDIS" in alone.remedy
    assert "head is gone" in with_redis.what
    assert "the workers go on" in with_redis.remedy


@pytest.mark.parametrize(
    "pods",
    [
        [made(ray_pod("head"), 1), made(ray_pod(ready=True), 2)],
        [made(ray_pod("head"), 9), made(ray_pod(), 1)],
        [made(ray_pod("head", ready=True), 9), made(ray_pod(ready=True), 1)],
    ],
    ids=["the first head", "no worker serves yet", "the successor is ready"],
)
def test_no_other_head_was_lost(pods: list[dict[str, Any]]) -> None:
    cause = ray_cause(service(), Evidence(pods, [UNREACHABLE]))

    assert cause
    assert "cannot reach the dashboard" in cause.what


def test_a_head_that_waits_for_its_redis_is_known_before_it_ends() -> None:
    log = "redis_context.cc:562: Failed to connect to Redis due to: RedisError: Could not establish connection to Redis"

    cause = ray_cause(
        service(), Evidence([ray_pod("head"), WAITING], logs=f"{log} 10.0.0.1:6379 (context.err = 1).. Will retry")
    )

    assert cause
    assert "Redis cannot be reached, which keeps the state of the Ray head: 10.0.0.1:6379" in cause.what


RUNS = ray_pod(containerStatuses=[container({"running": {}})])
PROBED = ClusterEvent(
    "2026-01-01T00:00:02Z", "Pod", RUNS["metadata"]["name"], "Warning", "Unhealthy", "Readiness probe failed: 503"
)


def test_what_serve_says_of_a_replica_comes_before_the_probe_of_its_worker() -> None:
    status = app("DEPLOYING", engine=("UPDATING", SLOW.format('{"CPU": 4.0}', '{"CPU": 2.0}')))

    cause = ray_cause(service(status), Evidence([HEAD, RUNS], [PROBED]))
    silent = ray_cause(service(app("DEPLOYING")), Evidence([HEAD, RUNS], [PROBED]))

    assert cause
    assert silent
    assert "waits for CPU" in cause.what
    assert "probe fails" in silent.what


def test_what_kuberay_could_not_do_at_first_and_then_did_is_no_cause() -> None:
    made_twice = kuberay("FailedToCreateRayCluster", 'Failed to create: rayclusters.ray.io "m-abcde" already exists')
    status = app("DEPLOYING", engine=("UPDATING", "Failed to create a placement group for Replica(id='x')."))

    cause = ray_cause(service(status), Evidence([HEAD, RUNS], [made_twice, UNREACHABLE]))

    assert cause
    assert "placement group cannot be made" in cause.what


def test_an_operator_that_does_nothing_is_the_cause() -> None:
    cause = ray_cause(service(), Evidence([]))

    assert cause
    assert "KubeRay has not looked" in cause.what
    assert not cause.final


STARTING = [HEAD, ray_pod("worker")]


def test_a_service_that_starts_without_trouble_has_no_cause() -> None:
    assert ray_cause(service(app("DEPLOYING")), Evidence(STARTING)) is None


def test_a_worker_that_serves_while_kuberay_sees_nothing_points_to_its_log() -> None:
    cause = ray_cause(service(app("DEPLOYING")), Evidence(BOTH))

    assert cause
    assert "does not call the RayService ready" in cause.what
    assert "operator" in cause.remedy
    assert not cause.final


def test_a_pod_that_was_refused_once_and_made_since_is_no_cause() -> None:
    event = kuberay("FailedToCreateHeadPod", "Failed to create head Pod: failed calling webhook: EOF", "RayCluster")

    assert ray_cause(service(app("DEPLOYING")), Evidence(STARTING, [event])) is None


def test_a_worker_that_no_node_takes_is_explained_as_a_pod_of_a_deployment_is() -> None:
    pending = ray_pod(conditions=[])
    pending["spec"] = {"containers": [{"name": "engine", "resources": {"requests": {"cpu": "64"}}}]}
    pending["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    ]

    cause = ray_cause(service(app("DEPLOYING")), Evidence([HEAD, pending]))

    assert cause
    assert "insufficient cpu (64 asked)" in cause.what
