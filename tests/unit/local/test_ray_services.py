"""The pods and the status of a RayService, in KubeRay's words."""

from typing import Any

import pytest
import yaml

from genai_pipeline.local.cluster import ray_pods, ray_proxy, ray_status
from genai_pipeline.local.cluster.images import UnknownImage, on_this_machine
from genai_pipeline.local.cluster.ray_pods import Place
from genai_pipeline.local.cluster.validate import problems
from tests.conformance.ray_services import ray_service
from tests.unit.local.test_validate import changed

PLACE = Place("127.77.0.9", 20_006, "127.77.0.8:20000")
RUNS = {"app": {"status": "RUNNING", "deployments": {"App": {"status": "HEALTHY", "message": ""}}}}
DEPLOYS = {"app": {"status": "DEPLOYING", "message": "waits", "deployments": {}}}


def container_of(group: int, service: dict[str, Any] | None = None) -> dict[str, Any]:
    service = service or ray_service()
    return ray_pods.spec_of(service, "m-abcde", ray_pods.groups_of(service)[group], PLACE)["containers"][0]


def environment_of(container: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in container["env"]}


def begun(**status: Any) -> dict[str, Any]:
    """A RayService with a cluster."""
    service = ray_service()
    service["metadata"]["generation"] = 3
    service["status"] = {"pendingServiceStatus": ray_status.beginning("m-abcde", "127.77.0.8", 20_000), **status}
    return service


def worker(ready: str = "True", serve: str = "true") -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"labels": {"ray.io/serve": serve}}, "status": status}


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_the_head_starts_ray_at_its_own_address_with_the_ports_of_its_block():
    args = container_of(0)["args"]

    assert args[:2] == ["start", "--head"]
    assert {"--node-ip-address=127.77.0.9", "--dashboard-host=127.77.0.9", "--port=20006", "--block"} <= set(args)
    assert {"--num-cpus=0", "--metrics-export-port=20008", "--disable-usage-stats"} <= set(args)


def test_a_worker_joins_the_head_and_has_no_options_of_a_head():
    args = container_of(1)["args"]

    assert {"--address=127.77.0.8:20000", "--num-cpus=1", "--include-log-monitor=false"} <= set(args)
    assert not [a for a in args if a.startswith(("--head", "--port", "--dashboard-host", "--ray-client"))]


def test_ports_that_ray_binds_everywhere_move_in_ports_and_probes():
    service = ray_service()
    worker = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    worker["livenessProbe"] = {"httpGet": {"path": "/api/local_raylet_healthz", "port": 52365}}

    container = container_of(1, service)

    assert container["ports"] == [{"name": "http", "containerPort": 8000}, {"name": "metrics", "containerPort": 20_008}]
    assert container["livenessProbe"]["httpGet"]["port"] == 20_009
    assert container["readinessProbe"]["httpGet"]["port"] == "http"


def test_resources_become_what_ray_may_give_out_unless_the_parameters_say_so():
    service = ray_service()
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group["template"]["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "1500m"},
        "limits": {"memory": "1Gi"},
    }
    assert "--num-cpus=1" in container_of(1, service)["args"]

    group["rayStartParams"] = {"resources": "'{\"a\": 1}'"}

    assert {"--num-cpus=2", "--memory=1073741824", '--resources={"a": 1}'} <= set(container_of(1, service)["args"])


def test_a_switch_of_the_parameters_becomes_an_option_without_a_value_or_none():
    service = ray_service()
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group["rayStartParams"] = {"no-redirect-output": "true"}
    assert "--no-redirect-output" in container_of(1, service)["args"]

    group["rayStartParams"] = {"no-redirect-output": "false"}

    assert not [a for a in container_of(1, service)["args"] if "redirect" in a]


def test_a_pod_has_a_token_and_its_own_callback_runs_inside_of_ours():
    container = container_of(1)

    environment = environment_of(container)
    assert environment["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == ray_pods.OWN_PROXY_CALLBACK
    assert environment["GENAI_SERVE_PROXY_CALLBACK"] == "app:middlewares"
    assert (environment["GENAI_SERVE_ADDRESS"], environment["GENAI_SERVE_KEEP_ALIVE_S"]) == ("127.77.0.9:8000", "5")
    assert environment["RAY_AUTH_MODE"] == "token"
    token = {"secretKeyRef": {"name": "m-abcde", "key": "auth_token"}}
    assert {"name": "RAY_AUTH_TOKEN", "valueFrom": token} in container["env"]


def test_our_callback_is_one_that_exists(monkeypatch):
    module, _, function = ray_pods.OWN_PROXY_CALLBACK.partition(":")
    assert (module, getattr(ray_proxy, function)) == (ray_proxy.__name__, ray_proxy.middlewares)
    monkeypatch.setenv("GENAI_SERVE_PROXY_CALLBACK", "")

    assert [m.cls for m in ray_proxy.middlewares()] == [ray_proxy.AtPodAddress]


def test_serve_is_told_of_no_address_that_pods_share():
    config = ray_pods.local_serve_config(ray_service())

    assert config["http_options"] == {"host": "127.0.0.1", "port": 0, "keep_alive_timeout_s": 5}
    assert config["applications"] == ray_pods.serve_config(ray_service())["applications"]


def test_a_template_cannot_take_the_labels_that_kuberay_owns():
    service = ray_service()
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group["template"]["metadata"]["labels"] |= {"ray.io/cluster": "x", "app.kubernetes.io/name": "engine"}

    labels = ray_pods.labels_of("m-abcde", ray_pods.groups_of(service)[1])

    assert (labels["ray.io/cluster"], labels["ray.io/node-type"], labels["ray.io/serve"]) == (
        "m-abcde",
        "worker",
        "true",
    )
    assert (labels["app.kubernetes.io/name"], labels["part"]) == ("engine", "engine")


@pytest.mark.parametrize(("replicas", "least", "most", "wanted"), [(None, 2, 3, 2), (5, 1, 3, 3), (2, 1, 3, 2)])
def test_a_group_has_as_many_workers_as_its_bounds_allow(replicas, least, most, wanted):
    service = ray_service()
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    group |= {"replicas": replicas, "minReplicas": least, "maxReplicas": most}

    assert ray_pods.groups_of(service)[1].replicas == wanted


def test_a_service_initializes_until_all_applications_run():
    status = ray_status.status_of(begun(), [worker()], DEPLOYS, 0)

    assert conditions(status)["Ready"] == ("False", "Initializing")
    assert status["activeServiceStatus"] == {}
    pending = status["pendingServiceStatus"]
    assert pending["applicationStatuses"]["app"] == {
        "status": "DEPLOYING",
        "message": "waits",
        "serveDeploymentStatuses": {},
    }
    assert (pending["rayClusterName"], status["observedGeneration"]) == ("m-abcde", 3)


def test_a_service_is_ready_when_a_worker_serves_what_runs():
    waits = ray_status.status_of(begun(), [worker("False"), worker("True", "false")], RUNS, 0)
    assert (conditions(waits)["Ready"][0], waits["numServeEndpoints"]) == ("False", 0)

    status = ray_status.status_of(begun(), [worker()], RUNS, 0)

    assert conditions(status) == {
        "Ready": ("True", "NonZeroServeEndpoints"),
        "UpgradeInProgress": ("False", "NoPendingCluster"),
    }
    assert (status["activeServiceStatus"]["rayClusterName"], status["pendingServiceStatus"]) == ("m-abcde", {})
    assert (status["serviceStatus"], status["numServeEndpoints"]) == ("Running", 1)


def test_a_service_that_lost_its_workers_says_so_and_keeps_its_cluster():
    service = begun()
    service["status"] = ray_status.status_of(service, [worker()], RUNS, 0)

    status = ray_status.status_of(service, [], DEPLOYS, 9)

    assert conditions(status)["Ready"] == ("False", "ZeroServeEndpoints")
    assert ray_status.head_of({**service, "status": status}) == Place("127.77.0.8", 20_000, "127.77.0.8:20000")


def test_a_status_that_did_not_change_is_the_same_object_with_the_same_time():
    service = begun()
    service["status"] = ray_status.status_of(service, [worker()], RUNS, 0)

    assert ray_status.status_of(service, [worker()], RUNS, 9) == service["status"]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("upgradeStrategy", {"type": "NewCluster"}, "spec.upgradeStrategy.type"),
        ("excludeHeadPodFromServeSvc", False, "spec.excludeHeadPodFromServeSvc"),
        ("serveConfigV2", "[1]", "spec.serveConfigV2"),
        ("rayClusterConfig", {}, "spec.rayClusterConfig"),
        ("rayClusterConfig.headGroupSpec.template.spec.containers.0.ports", [], "headGroupSpec"),
        ("rayClusterConfig.enableInTreeAutoscaling", True, "enableInTreeAutoscaling"),
        ("rayClusterConfig.gcsFaultToleranceOptions", {"redisAddress": "r:1"}, "gcsFaultToleranceOptions"),
    ],
)
def test_what_one_machine_cannot_do_is_refused_by_field(path, value, named):
    service = ray_service()
    assert problems(service) == []

    (problem,) = problems(changed(service, f"spec.{path}", value))

    assert named in problem


def test_a_gpu_in_a_ray_pod_is_refused():
    service = ray_service()
    worker = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    worker["resources"] = {"limits": {"nvidia.com/gpu": 1}}

    (problem,) = problems(service)

    assert "workerGroupSpecs[0].template.spec.containers[0].resources.limits" in problem


def test_the_serve_config_is_read_as_yaml():
    assert yaml.safe_load(ray_service()["spec"]["serveConfigV2"]) == ray_pods.serve_config(ray_service())


def test_a_container_of_ray_waits_as_for_an_image_where_ray_is_not_installed(monkeypatch):
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    with pytest.raises(UnknownImage, match="not installed"):
        on_this_machine(["ray", "start"])
