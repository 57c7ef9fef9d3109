"""One release's engine as a RayService (pattern B): what Serve runs, and how large Ray's cluster may get. Pure."""

from __future__ import annotations

from typing import Any

from genai_pipeline.core.engine_args import workers_per_replica, world_size
from genai_pipeline.core.env_value import EnvValue
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.engine import (
    ENGINE_PORT,
    MIDDLEWARE_FOLDER,
    PodFile,
    drain_s,
    engine_env,
    grace_s,
    replica_args,
    shared_memory_gib,
)
from genai_pipeline.k8s.templating import bind_address

RAY_VERSION = "2.60.0"
"""The Ray that `ray_serving.py` is written for. The image of a model file must have it."""
HEAD = "ray-head"
"""Component label of the pod that keeps Ray's state. It serves no request."""
METRICS_PORT = 8080
SERVING = PodFile("ray-serving", "genai_ray.py", "ray_serving.py")
GENTLY_S = 10
"""How often Serve asks an engine whether it is healthy."""
KEEP_ALIVE_S = 5
"""vLLM's own default, which `leaving.py` counts with. Serve would keep idle connections for 90 s."""
NO_USAGE_STATS = {"RAY_USAGE_STATS_ENABLED": "0"}
ENDS_AT_ONCE = {"RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1"}
"""For the head. A replica that fails its check of health answers nothing, and Serve would wait for its requests."""


def serve_config(serving: Serving, release: Release, profile: Profile) -> dict[str, Any]:
    """Return Serve's configuration: one application, whose replicas run vLLM's own server app."""
    return {
        "proxy_location": "EveryNode",
        "http_options": {
            "host": "0.0.0.0",
            "port": ENGINE_PORT,
            "keep_alive_timeout_s": _keep_alive_s(serving),
        },
        "applications": [
            {
                "name": "engine",
                "route_prefix": "/",
                "import_path": "genai_ray:build",
                "args": {
                    "command": replica_args(serving, release, profile),
                    "deployment": _deployment(serving),
                },
            }
        ],
    }


def ray_values(serving: Serving, release: Release, profile: Profile) -> dict[str, Any]:
    """Return what the template of the RayService needs beside what every engine needs."""
    each = workers_per_replica(serving)
    return {
        "ray": True,
        "ray_version": RAY_VERSION,
        "serve_config": serve_config(serving, release, profile),
        "workers_min": serving.replicas.min * each,
        "workers_max": serving.replicas.max * each,
        "scales": serving.scales,
        "gpus_of_worker": serving.gpu.count if serving.gpu else 0,
        "head_env": _ray_env() | serving.env | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"} | ENDS_AT_ONCE,
        "env": _worker_env(serving, profile),
        "grace_s": grace_s(serving) + drain_s(serving),
        # Ray's object store lies beside what the parts of an engine share.
        "shm_gib": shared_memory_gib(serving) + 1,
        "node_ip": bind_address(profile) if profile.name == "local" else None,
    }


def _deployment(serving: Serving) -> dict[str, Any]:
    """Return the options of Serve's deployment, by the names of `ray.serve.deployment`."""
    return {
        **_number(serving),
        "max_ongoing_requests": serving.replicas.max_ongoing_requests,
        "graceful_shutdown_timeout_s": drain_s(serving),
        "graceful_shutdown_wait_loop_s": 1,
        "health_check_period_s": GENTLY_S,
        "health_check_timeout_s": 3 * GENTLY_S,
        **_placed(serving),
    }


def _number(serving: Serving) -> dict[str, Any]:
    wanted = serving.replicas
    if not serving.scales:
        return {"num_replicas": wanted.min}
    return {
        "autoscaling_config": {
            "min_replicas": wanted.min,
            "max_replicas": wanted.max,
            "target_ongoing_requests": wanted.target_ongoing_requests,
            "upscale_delay_s": wanted.upscale_delay_s,
            "downscale_delay_s": wanted.downscale_delay_s,
        }
    }


def _placed(serving: Serving) -> dict[str, Any]:
    """Place one replica on one worker, or on as many whole workers as its parts need.

    Each worker offers one CPU to Ray, and the first part of a replica takes it. So no two replicas share a worker.
    """
    gpus = serving.gpu.count if serving.gpu else 0
    if workers_per_replica(serving) == 1:
        return {"ray_actor_options": {"num_cpus": 1} | ({"num_gpus": gpus} if gpus else {})}
    # vLLM takes one GPU of each bundle, and its driver none: the replica itself sits in the first bundle.
    bundles = [{"CPU": 1, "GPU": 1}, *({"GPU": 1} for _ in range(world_size(serving) - 1))]
    return {
        "ray_actor_options": {"num_cpus": 1},
        "placement_group_bundles": bundles,
        "placement_group_strategy": "PACK",
    }


def _keep_alive_s(serving: Serving) -> int:
    said = serving.env.get("VLLM_HTTP_TIMEOUT_KEEP_ALIVE")
    return int(said) if isinstance(said, str) and said.isdecimal() else KEEP_ALIVE_S


def _worker_env(serving: Serving, profile: Profile) -> dict[str, EnvValue]:
    # Ray drains the node of a worker that stops as long as its requests may take.
    own = _ray_env() | {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain_s(serving))}
    if workers_per_replica(serving) > 1:
        # The replica holds no GPU itself, and Ray would hide all of them from the engine's driver.
        own["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    return own | engine_env(serving, profile)


def _ray_env() -> dict[str, str]:
    return {
        "HOME": "/tmp",
        "PYTHONPATH": MIDDLEWARE_FOLDER,
        # The middleware of `leaving.py`, in the proxy of each pod.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "genai_ray:proxy_middlewares",
        # Ray runs replicas with niceness 15, behind everything else on a busy node.
        "RAY_worker_niceness": "0",
        # The pod's log is the engine's. Ray's own processes would write their state there, hundreds of lines a minute.
        "RAY_BACKEND_LOG_LEVEL": "warning",
        **NO_USAGE_STATS,
    }
