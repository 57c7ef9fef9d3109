"""Where this installation runs: the settings that differ between one laptop and EKS, and nothing else.

Precedence: environment variable, then `<home>/local.json` (written by `genai up` with the ports it
really got), then the default. Secrets stay in the environment and are read where they are used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from genai_pipeline.core.processor import local_tuning

ProfileName = Literal["local", "kubernetes", "eks"]
ClusterAccess = Literal["proxy", "direct"]
ProbeGpu = Literal["auto", "buy", "never"]

LOCAL_PORTS: Mapping[str, int] = {
    "s3": 8333,
    "hub": 8590,
    "cluster": 8591,
    "weather": 8592,
    "dagster": 3000,
}
"""Preferred loopback ports of the local profile's own services."""

LOCAL_KEYS_SECRET = "agent-keys"

AGENT_REPLICAS = 3
"""Of each agent where there are nodes: one a zone, so that losing a node or a zone leaves two."""


@dataclass(frozen=True)
class Profile:
    """Addresses, not credentials.

    Args:
        home: state folder of the local profile.
        s3_endpoint: None means AWS's own.
        hub_endpoint: None means the public hub.
        cluster_endpoint: address of the local cluster's API; None outside the local profile.
        weather_url: base address of a service with wttr.in's JSON.
        prometheus_url: None means that the engines' own /metrics are read.
        image_registry: where our own images are pulled from, with its trailing slash; empty means as they are named.
        api_server_cidrs: source addresses of the API server's service proxy, for network policies.
        node_role: IAM role of GPU nodes that need a NodeClass of our own; None means Auto Mode's `default` class.
        eks_cluster: name of the EKS cluster, by which that class finds its subnets and security group.
        probe_gpu: whether platform/node_pools may start a GPU node as a proof; auto: only where nodes are simulated.
        s3_endpoint_for_pods: S3 as pods reach it, where that is not how the pipeline does.
        cluster_access: how the pipeline reaches Services; None finds out (KubernetesCluster's `access`).
        engine_dtype: vLLM's `--dtype` where a model file names none; None leaves the choice to vLLM.
        engine_threads: threads of an engine without GPU, within its scheduler's process; None leaves them to vLLM.
        max_rollouts: candidates that may be on their way at once, of all models.
        kms_key: what everything in the bucket is encrypted with (SSE-KMS); None leaves it to the bucket.
        agent_replicas: pods of each release's agent; up to `agent_replicas_max` where an autoscaler may add some.
        agent_image: the agent's image by its whole name; None means ours, of this version.
        agent_sessions: `memory`, or the `s3://bucket/prefix` below which each model's conversations are kept; None: in
            the bucket, at `sessions/`.
        agent_keys_secret: name of the Secret whose `api-keys` callers of agents must use one of; None: they are open.
        agent_store_secret: name of the Secret with the agents' own AWS keys; None: they get those of the engines.
        otlp_endpoint: where agents send their traces; None: they make none.
    """

    name: ProfileName
    home: Path
    bucket: str
    region: str
    namespace: str
    s3_endpoint: str | None
    hub_endpoint: str | None
    cluster_endpoint: str | None
    weather_url: str
    prometheus_url: str | None
    dagster_url: str
    image_registry: str = ""
    api_server_cidrs: tuple[str, ...] = ()
    node_role: str | None = None
    eks_cluster: str | None = None
    probe_gpu: ProbeGpu = "auto"
    s3_endpoint_for_pods: str | None = None
    cluster_access: ClusterAccess | None = None
    kms_key: str | None = None
    engine_dtype: str | None = None
    engine_threads: int | None = None
    max_rollouts: int = 2
    agent_replicas: int = 1
    agent_replicas_max: int | None = None
    agent_image: str | None = None
    agent_sessions: str | None = None
    agent_keys_secret: str | None = None
    agent_store_secret: str | None = None
    otlp_endpoint: str | None = None

    @property
    def pods_s3_endpoint(self) -> str | None:
        """S3 as engines read it; None means AWS's own."""
        return self.s3_endpoint_for_pods or self.s3_endpoint

    def ui_page(self, path: str) -> str:
        """Address of a page of the Dagster UI, as assets/m/live; empty where nobody said where the UI is."""
        if not self.dagster_url or (self.name != "local" and self.dagster_url == _local_url("dagster")):
            return ""
        return f"{self.dagster_url.rstrip('/')}/{path}"

    @property
    def agent_is_autoscaled(self) -> bool:
        """Whether an autoscaler, and not we, says how many agents run."""
        return (self.agent_replicas_max or 0) > self.agent_replicas

    @property
    def has_pod_identity(self) -> bool:
        """Whether pods get their AWS credentials from EKS Pod Identity, so that no Secret may hold any."""
        return self.name == "eks"

    @property
    def has_embedded_hub(self) -> bool:
        """Whether the hub is this machine's own, so that other repositories are the public one's."""
        return self.name == "local" and (self.hub_endpoint or "").startswith("http://127.0.0.1:")

    @property
    def tick_s(self) -> int:
        """Seconds between two looks for new versions: the embedded hub may be asked often, the public one not."""
        return 5 if self.name == "local" else 30

    @classmethod
    def load(cls, env: Mapping[str, str] | None = None) -> Profile:
        """Read the profile. Needs no variable to be set and touches no network.

        Raises: ValueError: a variable has a value that is none of those it may have.
        """
        env = os.environ if env is None else env
        name = _one_of(get_args(ProfileName), "GENAI_PROFILE", env) or "local"
        home = Path(env.get("GENAI_HOME", ".genai")).absolute()
        written = _written(home) if name == "local" else {}

        def setting(variable: str, key: str, default: str | None = None) -> str | None:
            return env.get(variable) or written.get(key) or default

        local = name == "local"
        return cls(
            name=name,
            home=home,
            bucket=setting("GENAI_BUCKET", "bucket", "genai") or "genai",
            region=env.get("AWS_REGION") or "us-east-1",
            namespace=env.get("GENAI_NAMESPACE", "genai"),
            s3_endpoint=setting("AWS_ENDPOINT_URL", "s3_endpoint", _local_url("s3") if local else None),
            hub_endpoint=setting("HF_ENDPOINT", "hub_endpoint"),
            cluster_endpoint=setting("GENAI_CLUSTER_URL", "cluster_endpoint", _local_url("cluster")) if local else None,
            weather_url=setting("WEATHER_URL", "weather_url", _local_url("weather") if local else "https://wttr.in")
            or "",
            prometheus_url=env.get("GENAI_PROMETHEUS_URL"),
            dagster_url=setting("GENAI_DAGSTER_URL", "dagster_url", _local_url("dagster")) or "",
            image_registry=_with_slash(env.get("GENAI_IMAGE_REGISTRY", "")),
            api_server_cidrs=tuple(env.get("GENAI_API_SERVER_CIDRS", "").replace(",", " ").split()),
            node_role=env.get("GENAI_NODE_ROLE") or None,
            eks_cluster=env.get("GENAI_EKS_CLUSTER") or None,
            probe_gpu=_one_of(get_args(ProbeGpu), "GENAI_PROBE_GPU", env) or "auto",
            s3_endpoint_for_pods=None if local else env.get("GENAI_PODS_S3_ENDPOINT") or None,
            cluster_access=_one_of(get_args(ClusterAccess), "GENAI_CLUSTER_ACCESS", env),
            kms_key=None if local else env.get("GENAI_KMS_KEY") or None,
            engine_dtype=local_tuning().dtype if local else None,
            engine_threads=local_tuning().threads if local else None,
            max_rollouts=_count("GENAI_MAX_ROLLOUTS", env, 2),
            **_of_agents(env, local),
        )


def _of_agents(env: Mapping[str, str], local: bool) -> dict[str, Any]:
    """The settings of every model's agent."""
    replicas = 1 if local else AGENT_REPLICAS
    return {
        "agent_replicas": _count("GENAI_AGENT_REPLICAS", env, replicas),
        "agent_replicas_max": _agent_replicas_max(env, replicas),
        "agent_image": env.get("GENAI_AGENT_IMAGE") or None,
        "agent_sessions": _sessions(env),
        "agent_keys_secret": _keys_secret(env) if local else _object_name("GENAI_AGENT_KEYS_SECRET", env),
        "agent_store_secret": _object_name("GENAI_AGENT_STORE_SECRET", env),
        "otlp_endpoint": env.get("GENAI_OTLP_ENDPOINT") or None,
    }


def _local_url(service: str) -> str:
    return f"http://127.0.0.1:{LOCAL_PORTS[service]}"


def _one_of(choices: tuple[Any, ...], variable: str, env: Mapping[str, str]) -> Any:
    value = env.get(variable) or None
    if value not in (None, *choices):
        raise ValueError(f"{variable}={value!r} is none of its values. Use {', '.join(choices[:-1])} or {choices[-1]}.")
    return value


def _count(variable: str, env: Mapping[str, str], default: int) -> int:
    value = env.get(variable) or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"{variable}={value!r} is no number of at least 1.")
    return int(value)


def _agent_replicas_max(env: Mapping[str, str], fewest: int) -> int | None:
    if not env.get("GENAI_AGENT_REPLICAS_MAX"):
        return None
    fewest, most = _count("GENAI_AGENT_REPLICAS", env, fewest), _count("GENAI_AGENT_REPLICAS_MAX", env, fewest)
    if most < fewest:
        raise ValueError(f"GENAI_AGENT_REPLICAS_MAX={most} is below GENAI_AGENT_REPLICAS, which is {fewest}.")
    return most


def _sessions(env: Mapping[str, str]) -> str | None:
    value = env.get("GENAI_AGENT_SESSIONS") or None
    if value not in (None, "memory") and not value.startswith("s3://"):
        raise ValueError(f"GENAI_AGENT_SESSIONS={value!r} is none of its values. Use memory or s3://bucket/prefix.")
    return value


def _keys_secret(env: Mapping[str, str]) -> str | None:
    """On one machine nobody writes Secrets by hand: the keys are in the environment, and `genai up` writes it."""
    return LOCAL_KEYS_SECRET if env.get("AGENT_API_KEYS") else None


def _object_name(variable: str, env: Mapping[str, str]) -> str | None:
    value = env.get(variable) or None
    if value and not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", value):
        raise ValueError(f"{variable}={value!r} is no name of a Secret. Use lower case letters, digits, `-` and `.`.")
    return value


def _with_slash(registry: str) -> str:
    return f"{registry.rstrip('/')}/" if registry else ""


def _written(home: Path) -> dict[str, str]:
    try:
        return json.loads((home / "local.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
