"""`genai doctor` where the cluster is a Kubernetes: what keeps the pipeline from running there.

It changes nothing, but for a small object in the bucket that it deletes again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from genai_pipeline.cli.doctor import Finding, installed_version, model_findings, python_findings, source_findings
from genai_pipeline.core.errors import GenaiError, NotFound
from genai_pipeline.core.model_file import read_models
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.k8s.render import render_platform
from genai_pipeline.staging.bucket_probe import require_conditional_writes

LOOPBACK = ("127.", "localhost", "[::1]", "::1")
ROLE_REMEDY = "An administrator applies `genai render --rbac`; see docs/kubernetes.md."


def cluster_findings(profile: Profile, env: Mapping[str, str], models: Path, gateways: Gateways) -> list[Finding]:
    """Return everything that can be checked from here. Pods may see other addresses; the findings say so."""
    files = read_models(models)
    return [
        *python_findings(sys.version_info[:2], installed_version),
        *model_findings(models, files),
        _cluster(profile, gateways),
        *_store(profile, gateways),
        *pods_store_findings(profile, env),
        *agent_key_findings(profile, env),
        *source_findings(gateways.source, files, profile, running=True),
    ]


def _cluster(profile: Profile, gateways: Gateways) -> Finding:
    """A dry run of what every rollout applies first: connection, namespace and permissions in one."""
    what = f"the cluster would take what a rollout applies to namespace {profile.namespace}"
    return _tried(what, lambda: gateways.cluster.diff(render_platform(profile)), ROLE_REMEDY)


def _store(profile: Profile, gateways: Gateways) -> list[Finding]:
    where = profile.s3_endpoint or f"Amazon S3, {profile.region}"
    listed = _tried(f"bucket {profile.bucket} can be listed at {where}", lambda: list(gateways.store.list("releases/")))
    if listed.level == "fail":
        return [listed]
    what = f"bucket {profile.bucket} keeps the conditions of writes"
    return [listed, _tried(what, lambda: require_conditional_writes(gateways.store))]


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
