"""Everything that is applied, as functions of the model files, the release and the profile.

Once for the platform: `render_platform`, `render_node_pools`, `render_monitoring`. For each candidate: `render_engine`,
`render_agent`. At the cut-over: `render_stable`, `render_guards`. `render_live` is all of a live release. An
administrator applies `render_rbac` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genai_pipeline.core.engine_args import workers_per_replica
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_spec import EngineName, ModelSpec, Serving
from genai_pipeline.core.profile import LOCAL_KEYS_SECRET, Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s import engine, engine_autoscaler, engine_cache, prefetch, ray_service
from genai_pipeline.k8s.agent import STORE_ACCESS, agent_values, binds_callers, image_name, package_version
from genai_pipeline.k8s.chat import claim_name, render_chat_account, render_chat_ui
from genai_pipeline.k8s.engine import ENGINE_PORT, loaded_from, release_alias, weights_url
from genai_pipeline.k8s.gpu_defaults import engine_command
from genai_pipeline.k8s.network import AGENT_PORT, CHAT_PORT, PORTS, network_values, service_url, stable_name
from genai_pipeline.k8s.placement import affinity, node_selector, tolerations
from genai_pipeline.k8s.pools import needs_node_class, pool_values
from genai_pipeline.k8s.standby_pod import HEALTH_PATH, READY_PATH, may_sleep, render_standby_service
from genai_pipeline.k8s.templating import MANAGED_BY, RELEASE_LABEL, Objects, release_labels, render_template, secret_of

__all__ = [
    "AGENT_KINDS",
    "AGENT_PORT",
    "CHAT_PORT",
    "ENGINE_KINDS",
    "ENGINE_PORT",
    "MANAGED_BY",
    "OPTIONAL_KINDS",
    "PORTS",
    "RELEASE_LABEL",
    "STORE_ACCESS",
    "Objects",
    "components_of",
    "loaded_from",
    "package_version",
    "release_alias",
    "release_labels",
    "render_agent",
    "render_agent_keys",
    "render_chat_account",
    "render_chat_ui",
    "render_engine",
    "render_engine_access",
    "render_guards",
    "render_live",
    "render_monitoring",
    "render_namespace",
    "render_node_pools",
    "render_platform",
    "render_rbac",
    "render_release",
    "render_stable",
    "render_store_access",
    "service_url",
    "stable_name",
    "weights_url",
]

AGENT_KINDS = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "Deployment")
"""Of an agent's objects, all of one name; in the order in which they go."""

ENGINE_KINDS: Mapping[EngineName, Sequence[str]] = {
    "vllm": ("Service", "Deployment"),
    "ray": ("Service", "RayService", "PodDisruptionBudget", "NetworkPolicy"),
}
"""Of an engine's objects, all of the release's `object_name`; in the order in which they go."""

OPTIONAL_KINDS: Mapping[str, str] = {
    "NodePool": "Karpenter (EKS Auto Mode brings it)",
    "NodeClass": "EKS Auto Mode",
    "PodMonitor": "the Prometheus operator",
    "RayService": "KubeRay",
    **dict.fromkeys(engine_autoscaler.SCALER_KINDS, "KEDA"),
}
"""Kinds that a cluster may lack, and who brings them. A step that finds one absent skips it by name."""


def render_namespace(profile: Profile) -> Objects:
    """Return what a pod needs before it can be made: namespace, accounts, priority. Repeating it is harmless."""
    return [
        *render_template("namespace.yaml", profile),
        *render_template("service_accounts.yaml", profile),
        *render_template("priority_class.yaml", profile),
    ]


def render_platform(profile: Profile) -> Objects:
    """Return what every model shares and needs no CRD: the namespace's objects and its network policies."""
    policies = render_template("network_policies.yaml", profile, **network_values(profile))
    return [*render_namespace(profile), *policies]


def render_node_pools(profile: Profile, specs: Sequence[ModelSpec]) -> Objects:
    """The system, general and GPU pools; the GPU pool offers what the models ask for, with room for a surge.

    They are EKS Auto Mode's, so there are none where the cluster brings its own nodes. Where a model asks for a
    capacity reservation, and the profile names role and cluster, a NodeClass comes first. Else the pools use Auto
    Mode's `default`.
    """
    if not profile.has_eks_nodes:
        return []
    values = pool_values(profile, specs)
    names = ["node_pool_system", "node_pool_general", "node_pool_gpu"]
    if needs_node_class(profile, specs):
        names.insert(0, "node_class")
    return [o for name in names for o in render_template(f"{name}.yaml", profile, **values)]


def render_monitoring(profile: Profile) -> Objects:
    """Return what makes a Prometheus operator scrape engines and agents."""
    return render_template("pod_monitor.yaml", profile)


def render_engine(spec: ModelSpec, release: Release, profile: Profile, replicas: int | None = None) -> Objects:
    """Deployment or RayService of a release's engine first, then its Service and what else belongs to it.

    A Deployment that an autoscaler scales names no number of replicas.

    Raises: Refused: a credential in serving.env, or weights to be mounted where they cannot be.
    """
    engine.refuse_unmountable(spec.serving, profile)
    values = _engine_values(spec.serving, release, profile)
    if spec.serving.engine == "ray":
        values |= {"pod_files": [*engine.POD_FILES, ray_service.SERVING]}
        values |= ray_service.ray_values(spec.serving, release, profile)
        objects = render_template("ray_service.yaml", profile, release, **values)
    else:
        values |= {
            "ray": False,
            "replicas": spec.serving.replicas.min if replicas is None else replicas,
            "bounds": None,
            "engine_command": engine_command(spec.serving, profile),
            "engine_args": engine.engine_args(spec.serving, release, profile),
            "env": engine.engine_env(spec.serving, profile),
        }
        values |= prefetch.prefetch_values(spec.serving, release, profile)
        values |= engine_autoscaler.scaling_values(spec.serving, release, profile)
        objects = render_template("engine_deployment.yaml", profile, release, **values)
        if values["bounds"]:
            objects += render_template("engine_autoscaler.yaml", profile, release, **values)
    workload, *others = objects
    weights = _weights_volume(release, profile) if spec.serving.weights == "mount" else []
    services = [*_release_service(release, profile, "engine"), *render_standby_service(release, profile, ENGINE_PORT)]
    return [workload, *services, *others, *weights]


def _weights_volume(release: Release, profile: Profile) -> Objects:
    """Return volume and claim of exactly this revision, which live and go with the release."""
    prefix = staged_prefix(release.model, release.revision)
    return render_template(
        "weights_volume.yaml", profile, release, volume=release.volume_name(profile.namespace), prefix=prefix
    )


def _engine_values(serving: Serving, release: Release, profile: Profile) -> dict[str, Any]:
    """Return what the pod of an engine needs, whatever makes the pod."""
    workers = workers_per_replica(serving)
    return {
        "serving": serving,
        "image": engine.image_of(serving, profile),
        "mounted": engine.MOUNTED if serving.weights == "mount" else None,
        "pod_files": _pod_files(serving),
        "prefetched": None,
        "cache": engine_cache.cache_name(release) if engine_cache.keeps_cache(serving, profile) else None,
        "engine_access": engine_cache.ENGINE_ACCESS,
        "restore_command": engine_cache.restore_command(engine.MIDDLEWARE_FOLDER, profile),
        "ready_path": READY_PATH if may_sleep(serving) else HEALTH_PATH,
        "workers_per_replica": workers,
        "requests": engine.requests(serving),
        "limits": engine.limits(serving),
        "node_selector": node_selector(serving.gpu, profile),
        "tolerations": tolerations(serving.gpu),
        "affinity": affinity(serving.gpu, release_labels(release, "engine") if workers > 1 else None),
        "shm_gib": engine.shared_memory_gib(serving),
        "grace_s": engine.grace_s(serving),
        "drain_s": engine.drain_s(serving),
        "middleware_folder": engine.MIDDLEWARE_FOLDER,
        "store_access": STORE_ACCESS,
    }


def _pod_files(serving: Serving) -> list[engine.PodFile]:
    asleep = [engine.SLEEPING] if may_sleep(serving) else []
    return [*engine.POD_FILES, *asleep, *(prefetch.POD_FILES if serving.weights == "prefetch" else ())]


def render_agent(spec: ModelSpec, release: Release, profile: Profile, model_url: str) -> Objects:
    """A release's agent; `model_url` reaches that release's engine from its pod.

    Deployment and Service; with more than one replica a disruption budget, with room for more an autoscaler.
    """
    values = agent_values(spec, release, profile, model_url)
    autoscaled = profile.agent_is_autoscaled
    given = {"values": values, "autoscaled": autoscaled, "image": image_name(profile)}
    deployment = render_template("agent_deployment.yaml", profile, release, **given)
    budget = render_template("agent_disruption_budget.yaml", profile, release) if profile.agent_replicas > 1 else []
    autoscaler = render_template("agent_autoscaler.yaml", profile, release, **given) if autoscaled else []
    return [*deployment, *_release_service(release, profile, "agent"), *budget, *autoscaler]


def components_of(release: Release) -> tuple[str, ...]:
    """Return what serves a release: its engine, and its agent if it has one."""
    return tuple(component for component in PORTS if component == "engine" or release.has_agent)


def render_release(spec: ModelSpec, release: Release, profile: Profile) -> Objects:
    """Return the objects of a release apart from traffic: its engine, and its agent if it has one."""
    engine = service_url(release.object_name, "engine", profile)
    return [
        *render_engine(spec, release, profile),
        *(render_agent(spec, release, profile, engine) if release.has_agent else []),
    ]


def render_stable(release: Release, profile: Profile, component: str) -> Objects:
    """The stable Service of a component, with its traffic on `release`."""
    return _service("stable_service.yaml", stable_name(release.model, component), release, profile, component)


def render_guards(release: Release, profile: Profile) -> Objects:
    """Return what keeps the pods with user traffic in place. It follows the traffic, as the stable Service does."""
    return render_template("pod_disruption_budget.yaml", profile, release, name=stable_name(release.model, "engine"))


def render_live(spec: ModelSpec, release: Release, profile: Profile) -> Objects:
    """Return all objects of a live release: engine, agent, their Services, the stable Services, the guards."""
    return [
        *render_release(spec, release, profile),
        *(o for component in components_of(release) for o in render_stable(release, profile, component)),
        *render_guards(release, profile),
    ]


def render_store_access(profile: Profile, key_id: str, secret: str) -> Objects:
    """The Secret that engines read S3 with where there is no Pod Identity. Never written to files."""
    return secret_of(profile, STORE_ACCESS, {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret})


def render_engine_access(profile: Profile, token: str) -> Objects:
    """The Secret with the token of the paths that engines answer to the pipeline only. Never written to files."""
    return secret_of(profile, engine_cache.ENGINE_ACCESS, {engine_cache.TOKEN_KEY: token})


def render_agent_keys(profile: Profile, keys: str) -> Objects:
    """The Secret of LOCAL_KEYS_SECRET, on one machine; elsewhere an administrator keeps one. Never written to files."""
    return secret_of(profile, LOCAL_KEYS_SECRET, {"api-keys": keys})


def render_rbac(profile: Profile) -> Objects:
    """The pipeline's own account with exactly the verbs that it uses; an administrator applies it once.

    What a pod needs comes with it, so that `genai doctor --probe` can make pods before the first rollout. The pipeline
    may make no other namespace and no other priority class.
    """
    return [
        *render_namespace(profile),
        *render_template(
            "pipeline_role.yaml",
            profile,
            store_access=STORE_ACCESS,
            engine_access=engine_cache.ENGINE_ACCESS,
            chat_claim=claim_name(profile),
        ),
    ]


def _release_service(release: Release, profile: Profile, component: str) -> Objects:
    name = release.object_name if component == "engine" else release.agent_object_name
    return _service("release_service.yaml", name, release, profile, component)


def _service(template: str, name: str, release: Release, profile: Profile, component: str) -> Objects:
    return render_template(
        template,
        profile,
        release,
        name=name,
        component=component,
        port=PORTS[component],
        metrics_port=ray_service.METRICS_PORT if component == "engine" and release.engine == "ray" else None,
        binds_callers=component == "agent" and binds_callers(profile),
    )
