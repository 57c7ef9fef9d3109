"""An engine on Ray: what Serve is told, what the pods of its cluster are, and who reaches them."""

import dataclasses
import json

import pytest

from genai_pipeline.core.ray_rules import LONGEST_NAME
from genai_pipeline.k8s.leaving import LEASE_S
from genai_pipeline.k8s.ray_service import ENDS_AT_ONCE
from genai_pipeline.k8s.render import ENGINE_KINDS, release_labels, render_engine, render_monitoring, render_platform
from tests.fakes.model_texts import model_with_tools
from tests.unit.k8s.everything import PROFILES, SCALED, SPREAD, release_of, templates_of

EKS = PROFILES["eks"]
ON_CPU = model_with_tools("name: small\nsource: {hub: a/b}\nserving: {engine: ray, image: 'ray:2.60.0'}\n", "f")
LONGEST_CLUSTER_NAME = 53
SERVICE_SUFFIX = "-serve-svc"


def ray_service(spec, profile=EKS):
    return render_engine(spec, release_of(spec), profile)[0]


def cluster(spec, profile=EKS):
    return ray_service(spec, profile)["spec"]["rayClusterConfig"]


def pods(spec, profile=EKS):
    head, workers = templates_of(ray_service(spec, profile))
    return head, workers


def serve(spec, profile=EKS):
    return json.loads(ray_service(spec, profile)["spec"]["serveConfigV2"])


def deployment(spec):
    return serve(spec)["applications"][0]["args"]["deployment"]


def env(template):
    return {e["name"]: e.get("value") for e in template["spec"]["containers"][0]["env"]}


def test_an_engine_on_ray_is_one_ray_service_and_what_guards_it():
    objects = render_engine(SCALED, release_of(SCALED), EKS)

    assert {o["kind"] for o in objects} == set(ENGINE_KINDS["ray"])
    assert {o["metadata"]["name"] for o in objects} == {release_of(SCALED).object_name}
    assert objects[0]["spec"]["upgradeStrategy"] == {"type": "None"}


def test_serve_runs_vllms_own_command_line_and_listens_itself():
    (application,) = serve(SCALED)["applications"]
    command = application["args"]["command"]

    assert command[0] == f"--model=s3://genai/models/scaled/{'a' * 40}/"
    assert command[1:4] == ["--served-model-name", "scaled", f"scaled@{release_of(SCALED).id}"]
    assert not [a for a in command if a.startswith(("--host", "--port", "--middleware"))]
    assert (application["import_path"], application["route_prefix"]) == ("genai_ray:build", "/")
    assert serve(SCALED)["proxy_location"] == "EveryNode"


def test_kept_connections_end_as_early_as_vllms_do():
    changed = model_with_tools(
        "name: s\nsource: {hub: a/b}\nserving: {engine: ray, env: {VLLM_HTTP_TIMEOUT_KEEP_ALIVE: '9'}}\n", "f"
    )

    assert serve(SCALED)["http_options"]["keep_alive_timeout_s"] == 5
    assert serve(changed)["http_options"]["keep_alive_timeout_s"] == 9
    assert serve(changed)["http_options"]["keep_alive_timeout_s"] < LEASE_S


def test_replicas_are_scaled_by_the_names_of_the_model_file():
    assert deployment(SCALED)["autoscaling_config"] == {
        "min_replicas": 1,
        "max_replicas": 4,
        "target_ongoing_requests": 20,
        "upscale_delay_s": 30,
        "downscale_delay_s": 600,
    }
    assert deployment(SCALED)["max_ongoing_requests"] == 100
    assert deployment(SPREAD)["num_replicas"] == 2
    assert "autoscaling_config" not in deployment(SPREAD)


def test_one_worker_holds_one_replica_with_all_its_gpus():
    (workers,) = cluster(SCALED)["workerGroupSpecs"]

    assert deployment(SCALED)["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 2}
    assert (workers["rayStartParams"]["num-cpus"], workers["rayStartParams"]["num-gpus"]) == ("1", "2")
    assert (workers["minReplicas"], workers["maxReplicas"]) == (1, 4)
    assert "--distributed-executor-backend=mp" in serve(SCALED)["applications"][0]["args"]["command"]


def test_a_replica_larger_than_a_worker_takes_whole_workers():
    (workers,) = cluster(SPREAD)["workerGroupSpecs"]
    options = deployment(SPREAD)

    assert options["placement_group_bundles"] == [{"CPU": 1, "GPU": 1}] + 7 * [{"GPU": 1}]
    assert options["ray_actor_options"] == {"num_cpus": 1}
    assert (workers["replicas"], workers["minReplicas"], workers["maxReplicas"]) == (4, 4, 4)
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert env(workers["template"])["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] == "0"
    assert "podAffinity" in workers["template"]["spec"]["affinity"]
    command = serve(SPREAD)["applications"][0]["args"]["command"]
    assert {"--distributed-executor-backend=ray", "--tensor-parallel-size=4", "--pipeline-parallel-size=2"} <= set(
        command
    )


def test_an_engine_without_a_gpu_asks_ray_for_none():
    (workers,) = cluster(ON_CPU)["workerGroupSpecs"]

    assert deployment(ON_CPU)["ray_actor_options"] == {"num_cpus": 1}
    assert workers["rayStartParams"]["num-gpus"] == "0"
    assert not [a for a in serve(ON_CPU)["applications"][0]["args"]["command"] if "executor" in a]


def test_our_own_image_comes_from_the_installations_registry():
    for template in pods(SCALED):
        assert template["spec"]["containers"][0]["image"].startswith("registry.example/team/genai-pipeline/vllm-ray:")
    assert pods(ON_CPU)[0]["spec"]["containers"][0]["image"] == "ray:2.60.0"


def test_the_head_holds_nothing_but_state():
    head, _ = pods(SCALED)
    params = cluster(SCALED)["headGroupSpec"]["rayStartParams"]

    assert (params["num-cpus"], params["num-gpus"]) == ("0", "0")
    assert head["metadata"]["labels"]["app.kubernetes.io/component"] == "ray-head"
    assert not head["spec"].keys() & {"nodeSelector", "tolerations", "serviceAccountName"}
    assert not [e for e in head["spec"]["containers"][0]["env"] if e["name"].startswith("AWS")]


def test_workers_are_the_pods_that_the_services_of_a_release_select():
    _, workers = pods(SCALED)
    service = next(o for o in render_engine(SCALED, release_of(SCALED), EKS) if o["kind"] == "Service")

    assert service["spec"]["selector"] == release_labels(release_of(SCALED), "engine")
    assert service["spec"]["selector"].items() <= workers["metadata"]["labels"].items()
    assert {p["name"]: p["port"] for p in service["spec"]["ports"]} == {"http": 8000, "metrics": 8080}


def test_no_probe_of_kuberay_is_left_to_be_added():
    for template in pods(SCALED):
        container = template["spec"]["containers"][0]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert "httpGet" in container[probe]


def test_a_worker_has_time_for_its_drain_and_then_for_rays():
    _, workers = pods(SCALED)
    rays = int(env(workers)["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
    hook = workers["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]

    assert hook == {"path": "/drain?least=5&most=35", "port": "http"}
    assert workers["spec"]["terminationGracePeriodSeconds"] > 35 + rays


def test_serve_waits_for_no_request_of_a_replica_that_is_not_healthy():
    head, _ = pods(SCALED)

    assert env(head).items() >= ENDS_AT_ONCE.items()


def test_both_pods_get_the_files_and_the_proxys_middleware():
    for template in pods(SCALED):
        (volume,) = [v for v in template["spec"]["volumes"] if v["name"] == "middleware"]
        paths = {item["path"] for item in volume["downwardAPI"]["items"]}
        assert paths == {"genai_leaving.py", "genai_pipeline_only.py", "genai_restoring.py", "genai_ray.py"}
        assert env(template)["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"] == "genai_ray:proxy_middlewares"
        assert "def build(" in template["metadata"]["annotations"]["genai-pipeline/ray-serving"]


def test_only_the_autoscaler_may_ask_kubernetes():
    head, workers = pods(SCALED)
    options = cluster(SCALED)["autoscalerOptions"]

    assert "api-access" in {m["name"] for m in options["volumeMounts"]}
    assert "api-access" not in {m["name"] for m in head["spec"]["containers"][0]["volumeMounts"]}
    assert [t["spec"]["automountServiceAccountToken"] for t in (head, workers)] == [False, False]
    assert options["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_fixed_number_of_replicas_needs_no_autoscaler():
    assert not cluster(SPREAD).keys() & {"enableInTreeAutoscaling", "autoscalerOptions"}
    assert "api-access" not in {v["name"] for v in pods(SPREAD)[0]["spec"]["volumes"]}


def test_a_redis_of_the_installation_keeps_the_state_of_heads():
    profile = dataclasses.replace(EKS, ray_redis="valkey.store.svc:6379", ray_redis_secret="valkey")
    options = cluster(SCALED, profile)["gcsFaultToleranceOptions"]

    assert options["redisAddress"] == "valkey.store.svc:6379"
    assert options["redisPassword"]["valueFrom"]["secretKeyRef"] == {"name": "valkey", "key": "password"}
    assert "gcsFaultToleranceOptions" not in cluster(SCALED)
    assert (
        "redisPassword"
        not in cluster(SCALED, dataclasses.replace(profile, ray_redis_secret=None))["gcsFaultToleranceOptions"]
    )


@pytest.mark.parametrize("given", ["valkey.store.svc:6379", "10.0.0.9:6380"])
def test_a_head_may_reach_its_redis_and_no_other_port(given):
    policies = {o["metadata"]["name"]: o for o in render_platform(dataclasses.replace(EKS, ray_redis=given))}
    ports = [p["port"] for rule in policies["ray-head"]["spec"]["egress"] for p in rule["ports"]]

    assert ports == [53, 53, 443, 6443, int(given.rpartition(":")[2])]


def policies_of(pod, rendered):
    """The network policies that select a pod with these labels."""

    def selects(selector):
        wanted = selector.get("matchLabels", {}).items() <= pod.items()
        inside = all(pod.get(e["key"]) in e["values"] for e in selector.get("matchExpressions", []))
        return wanted and inside

    return [o["spec"] for o in rendered if o["kind"] == "NetworkPolicy" and selects(o["spec"]["podSelector"])]


def test_only_pods_of_the_same_release_reach_rays_ports():
    rendered = render_platform(EKS) + render_engine(SCALED, release_of(SCALED), EKS)
    open_to_all_ports = []
    for template in pods(SCALED):
        for policy in policies_of(template["metadata"]["labels"], rendered):
            open_to_all_ports += [r["from"] for r in policy.get("ingress", []) if "ports" not in r]
    ((peer,), (again,)) = open_to_all_ports

    assert peer == again
    assert peer["podSelector"]["matchLabels"]["genai-pipeline/release"] == release_of(SCALED).id


def test_only_kuberay_and_the_scrapers_reach_a_head_from_elsewhere():
    head, _ = pods(SCALED)
    doors = [
        (p["port"], next(iter(r["from"][0])))
        for policy in policies_of(head["metadata"]["labels"], render_platform(EKS))
        for r in policy.get("ingress", [])
        for p in r["ports"]
    ]

    assert doors == [(8265, "namespaceSelector"), (8080, "namespaceSelector")]


def test_pods_of_ray_are_scraped_once_and_on_rays_port():
    by_name = {o["metadata"]["name"]: o["spec"] for o in render_monitoring(EKS)}
    needs = {name: spec["selector"]["matchExpressions"][1]["operator"] for name, spec in by_name.items()}

    assert needs == {"genai-engine": "DoesNotExist", "genai-agent": "DoesNotExist", "genai-ray": "Exists"}
    assert by_name["genai-ray"]["podMetricsEndpoints"][0]["port"] == "metrics"
    assert by_name["genai-ray"]["selector"]["matchExpressions"][0]["values"] == ["engine", "ray-head"]


def test_the_longest_name_leaves_room_for_what_kuberay_adds():
    release = release_of(SCALED)
    longest = LONGEST_NAME + len(release.object_name) - len(release.model)

    assert longest + len("-abcde") <= LONGEST_CLUSTER_NAME
    assert LONGEST_CLUSTER_NAME + len(SERVICE_SUFFIX) <= 63


def test_what_engines_print_is_the_log_of_their_pod_and_not_drowned_by_ray():
    for group in (cluster(SCALED)["headGroupSpec"], *cluster(SCALED)["workerGroupSpecs"]):
        [container] = group["template"]["spec"]["containers"]
        assert group["rayStartParams"]["no-redirect-output"] == "true"
        assert {"name": "RAY_BACKEND_LOG_LEVEL", "value": "warning"} in container["env"]


def test_on_one_machine_each_pod_has_its_own_address():
    local = cluster(ON_CPU, PROFILES["local"])

    for group in (local["headGroupSpec"], *local["workerGroupSpecs"]):
        assert group["rayStartParams"]["node-ip-address"] == "$(POD_IP)"
    assert "node-ip-address" not in cluster(ON_CPU)["headGroupSpec"]["rayStartParams"]
