"""`genai doctor` where the cluster is a Kubernetes: what keeps the pipeline from running there.

It changes nothing, but for a small object in the bucket that it deletes again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from genai_pipeline.cli.access_doctor import ROLE_REMEDY, eks_findings, role_findings
from genai_pipeline.cli.doctor import Finding, installed_version, model_findings, python_findings, source_findings
from genai_pipeline.cli.observability_doctor import observability_findings
from genai_pipeline.cli.pools_doctor import gpu_findings, pool_findings
from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.k8s.engine_autoscaler import refuse_unscalable, why_not_scaling
from genai_pipeline.k8s.render import MANAGED_BY, render_engine, render_platform
from genai_pipeline.rollout.switch.workloads import HEAD_IS_ALONE, workload_of
from genai_pipeline.staging.bucket_probe import lacks, require_conditional_writes, require_uploads

LOOPBACK = ("127.", "localhost", "[::1]", "::1")


def cluster_findings(profile: Profile, env: Mapping[str, str], models: Path, gateways: Gateways) -> list[Finding]:
    """Return everything that can be checked from here. Pods may see other addresses; the findings say so."""
    files = read_models(models)
    found = [
        *python_findings(sys.version_info[:2], installed_version),
        *model_findings(models, files),
        *_cluster(files.specs, profile, gateways.cluster),
        *_store(profile, gateways),
        *pods_store_findings(profile, env),
        *agent_key_findings(profile, env),
        *source_findings(gateways.source, files, profile, running=True),
        *observability_findings(files.specs, profile, gateways),
    ]
    # Several questions meet the same fault, like a missing kubeconfig: the first of them reports it.
    first: dict[str, Finding] = {}
    for finding in found:
        first.setdefault(finding.what, finding)
    return list(first.values())


def _cluster(specs: Sequence[ModelSpec], profile: Profile, cluster: Cluster) -> list[Finding]:
    """Ask everything that is asked of the API server, or report once that it does not answer.

    The first question after its answer is a dry run of what every rollout applies first.
    """
    try:
        cluster.knows("Namespace")
        allowed = role_findings(profile, cluster)
    except GenaiError as error:
        return [Finding("fail", error.what, error.remedy)]
    what = f"the cluster would take what every rollout applies to namespace {profile.namespace}"
    return [
        _tried(what, lambda: cluster.diff(render_platform(profile)), ROLE_REMEDY),
        *allowed,
        *eks_findings(profile, cluster),
        *pool_findings(specs, profile, cluster),
        *gpu_findings(specs, profile, cluster),
        *ray_findings(specs, profile, cluster),
        *keda_findings(specs, profile, cluster),
    ]


def ray_findings(specs: Sequence[ModelSpec], profile: Profile, cluster: Cluster) -> list[Finding]:
    """Look for KubeRay where a model asks for it. A dry run of the first such RayService tells."""
    asking = [spec for spec in specs if spec.serving.engine == "ray"]
    if not asking:
        return []
    release, names = Release.of(asking[0], "0" * 40), ", ".join(spec.name for spec in asking)
    first, objects = workload_of(cluster, release), render_engine(asking[0], release, profile)
    found = _tried(f"{names}: the cluster would take a RayService", lambda: first.refuse_unknown(objects), ROLE_REMEDY)
    alone = [] if profile.ray_redis else [Finding("warn", f"{names}: {HEAD_IS_ALONE}")]
    return [found, *alone]


def keda_findings(specs: Sequence[ModelSpec], profile: Profile, cluster: Cluster) -> list[Finding]:
    """Look for KEDA, and for a Prometheus that it can ask, where plain vLLM has more replicas at most than at least."""
    asking = [spec for spec in specs if spec.serving.engine == "vllm" and spec.serving.scales]
    if not asking:
        return []
    release, names = Release.of(asking[0], "0" * 40), ", ".join(spec.name for spec in asking)

    def ask() -> None:
        refuse_unscalable(asking[0].serving, profile)
        workload_of(cluster, release).refuse_unknown(render_engine(asking[0], release, profile))

    return [_tried(f"{names}: the cluster would take a ScaledObject", ask, ROLE_REMEDY), *_idle_scalers(cluster)]


def _idle_scalers(cluster: Cluster) -> list[Finding]:
    """Name what runs and is not scaled. Without KEDA's operator all of them only lie there."""
    try:
        found = cluster.list("ScaledObject", MANAGED_BY)
    except GenaiError as error:
        return [Finding("warn", error.what, error.remedy)]
    remedy = "`kubectl describe scaledobject` and the log of keda-operator say more."
    idle = [(scaled["metadata"]["name"], why) for scaled in found if (why := why_not_scaling(scaled))]
    return [Finding("warn", f"ScaledObject {name}: {why}", remedy) for name, why in idle]


def _store(profile: Profile, gateways: Gateways) -> list[Finding]:
    where = profile.s3_endpoint or f"Amazon S3, {profile.region}"
    listed = _tried(f"bucket {profile.bucket} can be listed at {where}", lambda: list(gateways.store.list("releases/")))
    if listed.level == "fail":
        return [listed]
    bucket, store = f"bucket {profile.bucket}", gateways.store
    less: list[str] = []
    return [
        listed,
        _tried(f"{bucket} keeps the conditions of writes", lambda: require_conditional_writes(store)),
        _tried(f"{bucket} takes uploads in parts", lambda: require_uploads(store)),
        _tried(f"{bucket} takes files, and deletes them", lambda: less.extend(lacks(store))),
        *(Finding("warn", f"{bucket} {lack}") for lack in less),
    ]


def pods_store_findings(profile: Profile, env: Mapping[str, str]) -> list[Finding]:
    """Check that engines will find S3 and may read it, as far as settings show."""
    found: list[Finding] = []
    seen = urlsplit(profile.pods_s3_endpoint or "").hostname or ""
    if seen.startswith(LOOPBACK):
        remedy = "Set GENAI_PODS_S3_ENDPOINT to the address of S3 as pods reach it."
        found.append(Finding("fail", f"pods cannot reach S3 at {profile.pods_s3_endpoint}", remedy))
    keys = env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY")
    if profile.s3_endpoint and not profile.has_pod_identity and not keys:
        remedy = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the pipeline writes them into the Secret."
        found.append(Finding("warn", "engines get no credentials for S3", remedy))
    return found


def agent_key_findings(profile: Profile, env: Mapping[str, str]) -> list[Finding]:
    """Check that the pipeline may ask the agents that it deploys."""
    if not profile.agent_keys_secret or env.get("AGENT_API_KEYS"):
        return []
    what = f"agents take only keys of the Secret {profile.agent_keys_secret}, and the pipeline has none to show"
    remedy = "Set AGENT_API_KEYS in its environment, from the same Secret; else no release can be evaluated."
    return [Finding("warn", what, remedy)]


def _tried(what: str, ask: Callable[[], object], remedy: str = "") -> Finding:
    try:
        ask()
    except NotFound as error:
        return Finding("fail", error.what, remedy or error.remedy)
    except GenaiError as error:
        return Finding("fail", error.what, error.remedy)
    return Finding("ok", what)
