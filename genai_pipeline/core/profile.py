"""The settings of one installation: what differs between a laptop and EKS, and nothing else.

`Profile` is the one list of settings. The Dagster resource `profile` and docs/settings.md are made from it.
Precedence: environment variable, then `<home>/local.json` (written by `genai up` with the ports it got), then the
default. Credentials are not settings: they stay in the environment and are read where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import PositiveInt, ValidationError, model_validator
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from genai_pipeline.core.chat_settings import LOCAL_CHAT_SECRET, ChatSettings
from genai_pipeline.core.errors import WrongSetting
from genai_pipeline.core.gpu_family import GpuFamily
from genai_pipeline.core.local_addresses import addresses_of
from genai_pipeline.core.processor import local_tuning
from genai_pipeline.core.setting_types import Registry, SecretName, SessionsPlace, Setting, Words, setting

ProfileName = Literal["local", "kubernetes", "eks"]
ClusterAccess = Literal["proxy", "direct"]
ProbeGpu = Literal["auto", "buy", "never"]
LoadFrom = Literal["run", "pod"]

LOCAL_PORTS: Mapping[str, int] = {
    "s3": 8333,
    "hub": 8590,
    "cluster": 8591,
    "weather": 8592,
    "exporter": 8593,
    "prometheus": 8594,
    "alertmanager": 8595,
    "gpu_exporter": 8596,
    "dagster": 3000,
}
"""Preferred loopback ports of the local profile's own services."""

LOCAL_KEYS_SECRET = "agent-keys"
"""The Secret that `genai up` writes from AGENT_API_KEYS."""

AGENT_REPLICAS = 3
"""Pods of each agent where there are nodes: one for each zone, so that losing a node or a zone leaves two."""


def _local_url(service: str) -> str:
    return f"http://127.0.0.1:{LOCAL_PORTS[service]}"


@dataclass(frozen=True)
class Profile(ChatSettings):
    """The settings of one installation. Each has its environment variable; a reader checks every value."""

    name: ProfileName = setting("GENAI_PROFILE", "Where the pipeline runs: local, kubernetes or eks.", "local")
    home: Path = setting("GENAI_HOME", "State folder of the local profile.", Path(".genai"))
    bucket: str = setting("GENAI_BUCKET", "Bucket of the staged models and the records.", "genai")
    region: str = setting("AWS_REGION", "AWS region of the bucket and the cluster.", "us-east-1")
    namespace: str = setting("GENAI_NAMESPACE", "Kubernetes namespace of everything that serves.", "genai")
    s3_endpoint: str | None = setting(
        "AWS_ENDPOINT_URL", "Address of an S3-compatible store.", shown="Amazon S3; local: the installation's SeaweedFS"
    )
    s3_endpoint_for_pods: str | None = setting(
        "GENAI_PODS_S3_ENDPOINT",
        "Address of S3 as pods reach it, if it differs. Not used by the local profile.",
        shown="`AWS_ENDPOINT_URL`",
    )
    kms_key: str | None = setting(
        "GENAI_KMS_KEY",
        "Id, alias or ARN of the KMS key that every write asks for (SSE-KMS). Not used by the local profile.",
        shown="the bucket's own setting",
    )
    hub_endpoint: str | None = setting(
        "HF_ENDPOINT", "Address of the model hub.", shown="the public hub; local: the embedded one"
    )
    cluster_endpoint: str | None = setting(
        "GENAI_CLUSTER_URL",
        "Address of the local cluster's API. Only used by the local profile.",
        shown=_local_url("cluster"),
    )
    cluster_access: ClusterAccess | None = setting(
        "GENAI_CLUSTER_ACCESS",
        "How the pipeline reaches Services: direct (their address) or proxy (the API server's service proxy).",
        shown="direct in a pod, else proxy",
    )
    load_from: LoadFrom | None = setting(
        "GENAI_LOAD_FROM",
        "What sends the requests of the load test: run (the run itself) or pod (a pod beside the engine)."
        " Not used by the local profile.",
        shown="pod where Services are reached through the API server's proxy, else run",
    )
    api_server_cidrs: Words = setting(
        "GENAI_API_SERVER_CIDRS",
        "Source addresses of the API server's service proxy, separated by commas. Network policies let them in.",
        (),
        shown="none",
    )
    image_registry: Registry = setting(
        "GENAI_IMAGE_REGISTRY", "Registry that the images of the agent and the chat page come from.", "", shown="none"
    )
    weather_url: str = setting(
        "WEATHER_URL",
        "Base address of a weather service with wttr.in's JSON. Agents and evaluations ask it.",
        "",
        shown="https://wttr.in; local: the installation's own",
    )
    prometheus_url: str | None = setting(
        "GENAI_PROMETHEUS_URL",
        "Address of a Prometheus. More than one replica and GPU health need it.",
        shown="each engine's own `/metrics`; local: the installation's, where Prometheus is installed",
    )
    dashboards_url: str | None = setting(
        "GENAI_DASHBOARDS_URL", "Address of the Grafana with the dashboards.", shown="no link; local: its own page"
    )
    runbooks: str = setting("GENAI_RUNBOOKS", "Address of operations.md as alerts link to it.", "docs/operations.md")
    dagster_url: str = setting(
        "GENAI_DAGSTER_URL",
        "Address of the Dagster UI. Links in notices, `genai plan` and `genai prune` use it.",
        "",
        shown=_local_url("dagster"),
    )
    ray_redis: str | None = setting(
        "GENAI_RAY_REDIS", "host:port of a Redis or Valkey that keeps what the heads of Ray know.", shown="none"
    )
    ray_redis_secret: SecretName | None = setting(
        "GENAI_RAY_REDIS_SECRET", "Name of the Secret whose `password` that Redis asks for.", shown="no password"
    )
    weights_mount: bool = setting(
        "GENAI_WEIGHTS_MOUNT", "Whether the pipeline may make PersistentVolumes, for `weights: mount`.", False
    )
    node_role: str | None = setting(
        "GENAI_NODE_ROLE", "IAM role of GPU nodes with capacity reservations.", shown="Auto Mode's `default` class"
    )
    eks_cluster: str | None = setting(
        "GENAI_EKS_CLUSTER", "EKS cluster whose subnets and security group such nodes get.", shown="none"
    )
    probe_gpu: ProbeGpu = setting(
        "GENAI_PROBE_GPU",
        "Whether platform/node_pools may start a GPU node on EKS as a proof: auto (only simulated ones), buy, never.",
        "auto",
    )
    max_rollouts: PositiveInt = setting(
        "GENAI_MAX_ROLLOUTS", "Rollouts that may be under way at the same time, of all models.", 2
    )
    agent_replicas: PositiveInt = setting(
        "GENAI_AGENT_REPLICAS", "Pods of each release's agent.", 1, shown=f"{AGENT_REPLICAS}; local: 1"
    )
    agent_replicas_max: PositiveInt | None = setting(
        "GENAI_AGENT_REPLICAS_MAX", "Most pods of an agent: an autoscaler chooses the number.", shown="no autoscaler"
    )
    agent_image: str | None = setting(
        "GENAI_AGENT_IMAGE",
        "The agent's image by its whole name, with tag or digest.",
        shown="this version's image",
    )
    agent_sessions: SessionsPlace | None = setting(
        "GENAI_AGENT_SESSIONS",
        "Where agents keep conversations: memory, or an s3://bucket/prefix.",
        shown="`sessions/` in the bucket",
    )
    agent_keys_secret: SecretName | None = setting(
        "GENAI_AGENT_KEYS_SECRET",
        "Name of the Secret whose `api-keys` callers of agents must use.",
        shown=f"agents are open; local: `{LOCAL_KEYS_SECRET}` if `AGENT_API_KEYS` is set",
    )
    agent_store_secret: SecretName | None = setting(
        "GENAI_AGENT_STORE_SECRET", "Name of the Secret with the agents' own AWS keys.", shown="the engines' Secret"
    )
    otlp_endpoint: str | None = setting(
        "GENAI_OTLP_ENDPOINT", "Address that agents send OpenTelemetry traces to.", shown="no traces"
    )

    engine_dtype: str | None = None
    """vLLM's `--dtype` for a model file without one. The local profile takes what the processor computes fastest."""
    engine_threads: int | None = None
    """Threads of an engine without GPU, within its scheduler's process; None leaves them to vLLM."""
    engine_gpu_share: float | None = None
    """vLLM's `--gpu-memory-utilization` for a model file without one, where releases share the GPU of one machine."""
    gpu_family: GpuFamily | None = None
    """Family of the GPUs of the one machine."""
    gpu_exporter_url: str | None = None
    """Where the one machine tells the figures of its GPUs."""

    @model_validator(mode="after")
    def _most_is_not_below_fewest(self) -> Profile:
        if self.agent_replicas_max is not None and self.agent_replicas_max < self.agent_replicas:
            raise ValueError(
                f"GENAI_AGENT_REPLICAS_MAX={self.agent_replicas_max} is below GENAI_AGENT_REPLICAS, "
                f"which is {self.agent_replicas}"
            )
        return self

    @property
    def pods_s3_endpoint(self) -> str | None:
        """S3 as engines read it; None means AWS's own."""
        return self.s3_endpoint_for_pods or self.s3_endpoint

    def ui_page(self, path: str) -> str:
        """Return the address of a page of the Dagster UI, as assets/m/live, or an empty text without a UI."""
        if not self.dagster_url or (self.name != "local" and self.dagster_url == _local_url("dagster")):
            return ""
        return f"{self.dagster_url.rstrip('/')}/{path}"

    @property
    def agent_is_autoscaled(self) -> bool:
        """Return whether an autoscaler, and not the pipeline, chooses how many agents run."""
        return (self.agent_replicas_max or 0) > self.agent_replicas

    @property
    def has_pod_identity(self) -> bool:
        """Return whether pods get their AWS credentials from EKS Pod Identity, so that no Secret may hold any."""
        return self.name == "eks"

    @property
    def has_eks_nodes(self) -> bool:
        """Return whether nodes come from the pipeline's own pools of EKS Auto Mode, with EKS's labels and prices.

        Elsewhere nodes are the cluster's own. Only their administrator knows their labels: `serving.gpu.selector`.
        """
        return self.name == "eks"

    @property
    def has_embedded_hub(self) -> bool:
        """Return whether the hub is this machine's own, so that other repositories are the public one's."""
        return self.name == "local" and (self.hub_endpoint or "").startswith("http://127.0.0.1:")

    @property
    def tick_s(self) -> int:
        """Seconds between two looks for new versions. The embedded hub may be asked often, the public one may not."""
        return 5 if self.name == "local" else 30

    @classmethod
    def load(cls, env: Mapping[str, str]) -> Profile:
        """Read the settings from environment variables. None of them has to be set.

        Raises: WrongSetting: a variable has a value that is not allowed.
        """
        return cls.of(given_by(env))

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Profile:
        """Return the profile with these settings, and with the defaults of its kind for all others.

        Args:
            given: field -> value, as text or typed; an empty value stands for the default.
        Raises: WrongSetting.
        """
        chosen = {field: value for field, value in given.items() if value not in (None, "", ())}
        home = Path(chosen.get("home", ".genai")).absolute()
        local = chosen.get("name", "local") == "local"
        of_machine = {**local_tuning().settings, **addresses_of(home, cls.__dataclass_fields__)} if local else {}
        defaults = {**_LOCAL, **of_machine} if local else _ELSEWHERE
        unused = ("s3_endpoint_for_pods", "kms_key", "load_from") if local else ("cluster_endpoint",)
        used: dict[str, Any] = {field: value for field, value in chosen.items() if field not in unused}
        used["home"] = home
        try:
            return cls(**{**defaults, **used})
        except ValidationError as error:
            raise WrongSetting(" ".join(_mistake(found) for found in error.errors())) from None


def _infos() -> Mapping[str, FieldInfo]:
    found = cast("Any", Profile).__pydantic_fields__
    return {name: found[name] for name in sorted(found, key=lambda name: name in ChatSettings.__annotations__)}


SETTINGS: tuple[Setting, ...] = tuple(Setting(name, info) for name, info in _infos().items() if info.json_schema_extra)
"""Every setting, in the order of the reference page."""


def given_by(env: Mapping[str, str]) -> dict[str, Any]:
    """Return field -> value of what is set. The local profile names the Secret of AGENT_API_KEYS by itself."""
    given: dict[str, Any] = {s.field: env[s.variable] for s in SETTINGS if env.get(s.variable)}
    if given.get("name", "local") == "local":
        given["agent_keys_secret"] = LOCAL_KEYS_SECRET if env.get("AGENT_API_KEYS") else None
    return given


_LOCAL: Mapping[str, Any] = {
    "s3_endpoint": _local_url("s3"),
    "cluster_endpoint": _local_url("cluster"),
    "weather_url": _local_url("weather"),
    "dagster_url": _local_url("dagster"),
    "chat_secret": LOCAL_CHAT_SECRET,
}
_ELSEWHERE: Mapping[str, Any] = {
    "weather_url": "https://wttr.in",
    "dagster_url": _local_url("dagster"),
    "agent_replicas": AGENT_REPLICAS,
}


def _mistake(found: Any) -> str:
    """Return a sentence that names the variable, its value and what is allowed."""
    named = {s.field: s for s in SETTINGS}.get(str(found["loc"][0])) if found["loc"] else None
    text = str(found["msg"]).removeprefix("Value error, ").rstrip(".")
    return f"{named.variable}={found['input']!r} is not allowed. {text}." if named else f"{text}."
