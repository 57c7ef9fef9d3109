"""RayServices that cannot serve on a real KubeRay and a real Ray: the rendered one with one thing wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Change = Callable[[Any], None]


@dataclass(frozen=True)
class RayCase:
    """`change` edits the RayService, or Serve's configuration of it. `says`: what the diagnosis has to name.

    `ends` is whether the wait sees that it is in vain, None where that depends on how often it has crashed by then.
    """

    name: str
    change: Change
    says: tuple[str, ...]
    ends: bool | None = True


def _cluster(service: dict[str, Any]) -> dict[str, Any]:
    return service["spec"]["rayClusterConfig"]


def _head(service: dict[str, Any]) -> dict[str, Any]:
    return _cluster(service)["headGroupSpec"]["template"]["spec"]["containers"][0]


def _worker(service: dict[str, Any]) -> dict[str, Any]:
    return _cluster(service)["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]


def _long_name(service: dict[str, Any]) -> None:
    service["metadata"]["name"] = "n" * 48


def _strategy(service: dict[str, Any]) -> None:
    service["spec"]["upgradeStrategy"] = {"type": "Sideways"}


def _without_ray(service: dict[str, Any]) -> None:
    _head(service)["env"].append({"name": "PATH", "value": "/usr/bin:/bin"})


def _redis(address: str, password: str = "") -> Change:
    def change(service: dict[str, Any]) -> None:
        options = {"redisAddress": address} | ({"redisPassword": {"value": password}} if password else {})
        _cluster(service)["gcsFaultToleranceOptions"] = options

    return change


def _on_head(**fields: Any) -> Change:
    return lambda service: _head(service).update(fields)


def before_ray_starts(locked: str) -> list[RayCase]:
    """Args: locked: `host:port` of a Redis with a password."""
    huge = {"requests": {"cpu": "1000"}}
    tight = {"requests": {"memory": "32Mi"}, "limits": {"memory": "32Mi"}}
    return [
        RayCase("name", _long_name, ("KubeRay refuses the name", "Choose a shorter model name")),
        RayCase("strategy", _strategy, ("KubeRay refuses the RayService", "Correct the field")),
        RayCase("quota", lambda _: None, ("ResourceQuota is exceeded",)),
        RayCase("no-ray", _without_ray, ("The image has no Ray", "docs/ray.md")),
        RayCase("no-image", _on_head(image="test/none:1", imagePullPolicy="Never"), ("Ray head", "pull policy")),
        RayCase("no-cpu", _on_head(resources=huge), ("Ray head", "insufficient cpu"), ends=False),
        RayCase("memory", _on_head(resources=tight), ("Ray head", "OOMKilled", "not `serving.resources`"), ends=None),
        RayCase("no-redis", _redis("127.0.0.1:1"), ("Redis cannot be reached", "GENAI_RAY_REDIS"), ends=False),
        RayCase("password", _redis(locked, "wrong"), ("Redis refuses the password", "Secret")),
    ]


def _application(**fields: Any) -> Change:
    return lambda config: config["applications"][0].update(fields)


def _deployment(**options: Any) -> Change:
    return lambda config: config["applications"][0]["args"]["deployment"].update(options)


def _fault(name: str) -> Change:
    def change(config: dict[str, Any]) -> None:
        config["applications"][0]["args"]["command"].append(f"--fault={name}")
        _deployment(max_constructor_retry_count=1)(config)

    return change


def on_a_running_ray() -> list[RayCase]:
    """Changes of Serve's configuration, one after the other on one Ray cluster."""
    nowhere = {"env_vars": {"PYTHONPATH": "/nowhere"}}
    many = [{"CPU": 1, "GPU": 1}, {"GPU": 1}]
    return [
        RayCase("route", _application(route_prefix="none"), ("Serve refuses the configuration", "route_prefix")),
        RayCase("path", _application(runtime_env=nowhere), ("cannot import genai_ray", "PYTHONPATH")),
        RayCase("builder", _application(args={}), ("cannot build the application", "KeyError")),
        RayCase(
            "environment",
            _application(runtime_env={"working_dir": "https://127.0.0.1:1/none.zip"}),
            ("runtime environment cannot be set up", "RAY_RUNTIME_ENV"),
        ),
        RayCase("engine", _fault("exit_at_start"), ("failed to start too often", "told to exit at start")),
        RayCase("health", _fault("unhealthy"), ("failed to start too often", "EngineCore encountered an issue")),
        RayCase("cpu", _deployment(ray_actor_options={"num_cpus": 64}), ("waits for CPU: 64 asked",), ends=False),
        RayCase(
            "gpu",
            _deployment(ray_actor_options={"num_cpus": 1, "num_gpus": 1}),
            ("waits for GPU: 1 asked, 0 free", "serving.gpu"),
            ends=False,
        ),
        RayCase(
            "group",
            _deployment(placement_group_bundles=many, placement_group_strategy="PACK"),
            ("placement group", "2 bundles", "serving.gpu"),
            ends=False,
        ),
    ]


def with_serve(service: dict[str, Any], change: Change) -> dict[str, Any]:
    """The RayService with its configuration of Serve changed."""
    config = json.loads(service["spec"]["serveConfigV2"])
    change(config)
    service["spec"]["serveConfigV2"] = json.dumps(config)
    return service
