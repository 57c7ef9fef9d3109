"""RayServices. They need KubeRay and an image with Ray, where the cluster is a real one."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.conformance.world import World, until

RAY_IMAGE = "test/ray-engine:1"
STARTS_S, STOPS_S = 400, 90
APP = """
import os
from ray import serve
from starlette.middleware import Middleware

@serve.deployment(ray_actor_options={"num_cpus": 1})
class App:
    def __init__(self, says):
        self.says = says

    async def __call__(self, request):
        return self.says

def build(args):
    return App.bind(args["says"])

class Marked:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def send_on(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"x-proxy-of", os.environ["POD_NAME"].encode())]
            await send(message)

        await self.app(scope, receive, send_on)

def middlewares():
    return [Middleware(Marked)]
"""


def ray_service(name: str = "m", says: str = "one") -> dict[str, Any]:
    """A RayService of one worker that answers `says`, and names the pod whose proxy passed the answer on."""
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": 8000, "keep_alive_timeout_s": 5},
        "applications": [{"name": "app", "route_prefix": "/", "import_path": "app:build", "args": {"says": says}}],
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name},
        "spec": {
            "upgradeStrategy": {"type": "None"},
            "excludeHeadPodFromServeSvc": True,
            "serveConfigV2": yaml.safe_dump(config),
            "rayClusterConfig": {
                "rayVersion": "2.60.0",
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "num-gpus": "0"},
                    "template": _pod(name, "ray-head", {"gcs": 6379, "dashboard": 8265, "serve": 8000}, _HEAD),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "engine",
                        "replicas": 1,
                        "minReplicas": 1,
                        "maxReplicas": 1,
                        "rayStartParams": {"num-cpus": "1"},
                        "template": _pod(name, "engine", {"http": 8000, "metrics": 8080}, _WORKER),
                    }
                ],
            },
        },
    }


_HEAD = {"httpGet": {"path": "/api/gcs_healthz", "port": "dashboard"}, "periodSeconds": 2, "timeoutSeconds": 5}
_WORKER = {"httpGet": {"path": "/-/healthz", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 5}


def _pod(name: str, container: str, ports: dict[str, int], ready: dict[str, Any]) -> dict[str, Any]:
    environment = {
        "PYTHONPATH": "/etc/app",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "app:middlewares",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "5",
    }
    variables: list[dict[str, Any]] = [{"name": key, "value": value} for key, value in environment.items()]
    variables.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    return {
        "metadata": {"labels": {"app": name, "part": container}},
        "spec": {
            "terminationGracePeriodSeconds": 20,
            "volumes": [{"name": "app", "configMap": {"name": "app"}}],
            "containers": [
                {
                    "name": container,
                    "image": RAY_IMAGE,
                    "env": variables,
                    "ports": [{"name": key, "containerPort": number} for key, number in ports.items()],
                    "readinessProbe": ready,
                    "volumeMounts": [{"name": "app", "mountPath": "/etc/app"}],
                }
            ],
        },
    }


def apply(world: World, *services: dict[str, Any]) -> None:
    source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app"}, "data": {"app.py": APP}}
    in_front = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service["metadata"]["name"]},
            "spec": {
                "selector": {"app": service["metadata"]["name"], "part": "engine"},
                "ports": [
                    {"name": "http", "port": 8000, "targetPort": "http"},
                    {"name": "metrics", "port": 8080, "targetPort": "metrics"},
                ],
            },
        }
        for service in services
    ]
    world.cluster.apply([source, *in_front, *services])


def ready(world: World, name: str = "m") -> dict[str, Any] | None:
    """The RayService, if its condition says that it is ready."""
    found = world.cluster.get("RayService", name) or {}
    conditions = (found.get("status") or {}).get("conditions") or []
    return found if ("Ready", "True") in [(c["type"], c["status"]) for c in conditions] else None


def pods(world: World, kind: str, name: str = "m") -> list[dict[str, Any]]:
    return world.cluster.list("Pod", {"app": name, "ray.io/node-type": kind})


def names(found: list[dict[str, Any]]) -> set[str]:
    return {pod["metadata"]["name"] for pod in found}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_ray_service_gets_ready_is_served_by_its_worker_replaces_a_pod_and_goes(world: World) -> None:
    apply(world, ray_service())
    found = until(lambda: ready(world), STARTS_S)

    active = found["status"]["activeServiceStatus"]
    (app,) = active["applicationStatuses"].values()
    assert (app["status"], app["serveDeploymentStatuses"]["App"]["status"]) == ("RUNNING", "HEALTHY")
    assert found["status"]["numServeEndpoints"] == 1
    (head,), (worker,) = pods(world, "head"), pods(world, "worker")
    assert {p["metadata"]["labels"]["ray.io/cluster"] for p in (head, worker)} == {active["rayClusterName"]}
    assert (head["metadata"]["labels"]["ray.io/serve"], worker["metadata"]["labels"]["ray.io/serve"]) == (
        "false",
        "true",
    )

    answer = world.http.get(world.cluster.endpoint("m"))
    assert (answer.text, answer.headers["x-proxy-of"]) == ("one", worker["metadata"]["name"])
    until(lambda: "ray_serve_" in world.http.get(world.cluster.endpoint("m", 8080) + "/metrics").text, 60)

    world.cluster.delete("Pod", worker["metadata"]["name"])
    until(lambda: names(pods(world, "worker")).isdisjoint({worker["metadata"]["name"]}) and ready(world), STARTS_S)
    until(lambda: _answers(world), STARTS_S)

    world.cluster.delete("RayService", "m")
    world.cluster.wait_gone({"app": "m"}, STOPS_S)
    assert world.cluster.get("RayService", "m") is None


def _answers(world: World) -> bool:
    try:
        return world.http.get(world.cluster.endpoint("m")).text == "one"
    except Exception:
        return False
