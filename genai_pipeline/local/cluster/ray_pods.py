"""The pods of a RayService, as KubeRay 1.5.1 makes them from its templates. Pure: objects in, pods out.

Pods of one machine share its ports, and Ray binds several of its own on every address. So each pod gets a block of
numbers for these, and its containers' ports and probes name the numbers of that block.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from genai_pipeline.gateways.cluster.pods import quantity
from genai_pipeline.local.cluster.objects import Object

CLUSTER_LABEL, TYPE_LABEL, GROUP_LABEL, SERVE_LABEL = (
    "ray.io/cluster",
    "ray.io/node-type",
    "ray.io/group",
    "ray.io/serve",
)
PORTS_ANNOTATION = "genai-pipeline/ray-ports"
"""The first number of the pod's block."""
BLOCK = 6
DASHBOARD = 8265
TOKEN_KEY = "auth_token"
PROXY_CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
OWN_PROXY_CALLBACK = "genai_pipeline.local.cluster.ray_proxy:middlewares"

_BOUND_EVERYWHERE = {
    "port": 6379,
    "ray-client-server-port": 10001,
    "metrics-export-port": 8080,
    "dashboard-agent-listen-port": 52365,
    "dashboard-agent-grpc-port": 0,
    "runtime-env-agent-port": 0,
}
"""Options of `ray start` -> what they usually are. Ray waits 15 s for the agent's own choices and then gives up."""
_HEAD_ONLY = ("port", "ray-client-server-port")
_OBJECT_STORE_BYTES = 100 * 2**20
"""Ray's own choice is a third of the machine's memory, and nothing here keeps objects in it."""
_SWITCHES = ("log-color", "include-dashboard", "include-log-monitor")


@dataclass(frozen=True)
class Group:
    """The head, or one group of workers."""

    name: str
    is_head: bool
    replicas: int
    template: Mapping[str, Any]
    start_params: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """What a pod has of this machine, and where its head is.

    Args:
        first_port: of the pod's block. A head's is that of the GCS.
        gcs: address and port.
    """

    address: str
    first_port: int
    gcs: str


def groups_of(service: Object) -> list[Group]:
    """The head first."""
    cluster = service["spec"]["rayClusterConfig"]
    head = cluster["headGroupSpec"]
    found = [Group("headgroup", True, 1, head["template"], head.get("rayStartParams") or {})]
    for group in cluster.get("workerGroupSpecs") or []:
        least, most = group.get("minReplicas") or 0, group.get("maxReplicas")
        wanted = max(least, group.get("replicas") or 0)
        wanted = (wanted if most is None else min(wanted, most)) * (group.get("numOfHosts") or 1)
        found.append(Group(group["groupName"], False, wanted, group["template"], group.get("rayStartParams") or {}))
    return found


def labels_of(cluster: str, group: Group) -> dict[str, str]:
    own = (group.template.get("metadata") or {}).get("labels") or {}
    kind = "head" if group.is_head else "worker"
    made = {"ray.io/is-ray-node": "yes", "ray.io/identifier": f"{cluster}-{kind}"}
    made |= {"app.kubernetes.io/name": "kuberay", "app.kubernetes.io/created-by": "kuberay-operator"}
    fixed = {CLUSTER_LABEL: cluster, TYPE_LABEL: kind, GROUP_LABEL: group.name}
    return made | own | fixed | {SERVE_LABEL: "false" if group.is_head else "true"}


def spec_of(service: Object, cluster: str, group: Group, place: Place) -> dict[str, Any]:
    """The pod's spec: the template's, with `ray start` in the first container."""
    spec = group.template["spec"]
    ray, *others = spec["containers"]
    moved = dict(_moved(group, place.first_port))
    params = _start_params(ray, group, place)
    options = {name: now for name, (_, now) in moved.items()}
    head = ["--head"] if group.is_head else []
    numbers = {before: now for before, now in moved.values() if before}
    container = _with_ports(ray, numbers) | {
        "command": ["ray"],
        "args": ["start", *head, *_arguments(params | {name: str(now) for name, now in options.items()})],
        "env": _environment(service, cluster, ray.get("env") or [], place),
    }
    return {**spec, "containers": [container, *others]}


def _moved(group: Group, first: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Option -> its number in the template and on this machine."""
    for offset, (option, usual) in enumerate(_BOUND_EVERYWHERE.items()):
        if group.is_head or option not in _HEAD_ONLY:
            yield option, (int(group.start_params.get(option, usual)), first + offset)


def _start_params(ray: Mapping[str, Any], group: Group, place: Place) -> dict[str, str]:
    resources = ray.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    params = {"object-store-memory": str(_OBJECT_STORE_BYTES), "include-log-monitor": "false"}
    if cpus := limits.get("cpu") or requests.get("cpu"):
        params["num-cpus"] = str(math.ceil(quantity(cpus)))
    if memory := limits.get("memory"):
        params["memory"] = str(math.ceil(quantity(memory)))
    params |= group.start_params
    params |= {"block": "true", "node-ip-address": place.address, "temp-dir": "$(GENAI_SHORT_FOLDER)/ray"}
    params |= {"min-worker-port": "0", "max-worker-port": "0"}
    if group.is_head:
        return params | {"dashboard-host": place.address, "disable-usage-stats": "true"}
    return {name: value for name, value in params.items() if name != "dashboard-host"} | {"address": place.gcs}


def _arguments(params: Mapping[str, str]) -> Iterator[str]:
    """As KubeRay writes them, in the order of their names. It passes them through a shell."""
    for name, value in sorted(params.items()):
        switch = value.lower() in ("true", "false") and name not in _SWITCHES
        if not switch:
            yield "".join([f"--{name}=", *shlex.split(value)])
        elif value.lower() == "true":
            yield f"--{name}"


def _environment(service: Object, cluster: str, given: list[dict[str, Any]], place: Place) -> list[dict[str, Any]]:
    by_name = {variable["name"]: variable for variable in given}
    callback = by_name.pop(PROXY_CALLBACK, {}).get("value", "")
    http = serve_config(service).get("http_options") or {}
    fixed = {
        PROXY_CALLBACK: OWN_PROXY_CALLBACK,
        "GENAI_SERVE_PROXY_CALLBACK": callback,
        "GENAI_SERVE_ADDRESS": f"{place.address}:{serve_port(service)}",
        "GENAI_SERVE_KEEP_ALIVE_S": str(http.get("keep_alive_timeout_s", 90)),
        "RAY_CLUSTER_NAME": cluster,
        "RAY_AUTH_MODE": "token",
    }
    # By Ray's own choice, replicas starve beside whatever else runs on a small machine.
    usual = {"RAY_ADDRESS": place.gcs, "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    token = {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": cluster, "key": TOKEN_KEY}}}
    made = [{"name": name, "value": value} for name, value in (fixed | usual).items() if name not in by_name]
    return [*by_name.values(), *made, token]


def _with_ports(container: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    """The container with each port that moved at its new number, in its ports and probes."""

    def renumbered(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {
                k: numbers.get(v, v) if k in _PORT_FIELDS and isinstance(v, int) else renumbered(v)
                for k, v in value.items()
            }
        return [renumbered(item) for item in value] if isinstance(value, list) else value

    return {k: renumbered(v) if k in ("ports", *_WITH_PORTS) else v for k, v in container.items()}


_PORT_FIELDS = ("port", "containerPort")
_WITH_PORTS = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")


def serve_config(service: Mapping[str, Any]) -> dict[str, Any]:
    """Raises: ValueError, yaml.YAMLError: it is not a mapping."""
    config = yaml.safe_load(service["spec"].get("serveConfigV2") or "") or {}
    if not isinstance(config, dict):
        raise ValueError(f"not a mapping: {config!r}")
    return config


def serve_port(service: Object) -> int:
    return (serve_config(service).get("http_options") or {}).get("port", 8000)


def local_serve_config(service: Object) -> dict[str, Any]:
    """The configuration for Serve. Its proxies listen where `ray_proxy` lets them: Serve has one address for all."""
    config = serve_config(service)
    return config | {"http_options": {**(config.get("http_options") or {}), "host": "127.0.0.1", "port": 0}}
