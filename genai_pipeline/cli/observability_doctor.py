"""`genai doctor` about metrics on a cluster: the mistakes after which nothing is seen, and nothing says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.gateways.metrics.amazon_workspace import WRITE, workspace_of
from genai_pipeline.k8s.render import render_monitoring
from genai_pipeline.k8s.templating import MANAGED_BY
from genai_pipeline.observability.metrics_verified import GPU_SERIES
from genai_pipeline.observability.rule_groups import OPERATOR_LABELS
from genai_pipeline.observability.series import equals, selector

OWN_METRICS = "GENAI_PROMETHEUS_URL is not set: each engine's own /metrics is read, and there are no alerts"
OPERATOR = next(iter(OPERATOR_LABELS.values()))
WRONG_RELEASE = (
    f"The operator loads only monitors with the name of its chart's release in the label `release`; these have "
    f"{OPERATOR}. Install the chart under that name, or set its podMonitorSelectorNilUsesHelmValues to false."
)
NO_OPERATOR = "Install the Prometheus operator; see deploy/observability."
WITHOUT_PODS = (
    "Set DCGM_EXPORTER_KUBERNETES=true, as in deploy/observability/dcgm-exporter.yaml. Without it no figure of a GPU "
    "leads to a release."
)
WRITER = "the account `prometheus`"
ITS_LOG = "Its log has the words of the refusal."
WRITTEN_TO = "prometheus_remote_storage_queue_highest_sent_timestamp_seconds"
LOST = "sum by (url) (rate(prometheus_remote_storage_samples_failed_total[10m])) > 0"


def observability_findings(specs: Sequence[ModelSpec], profile: Profile, gateways: Gateways) -> list[Finding]:
    """Look for the classic mistakes, from the monitors to the store of the samples."""
    if profile.prometheus_url is None:
        return [Finding("ok", OWN_METRICS)]
    monitors = _monitors(profile, gateways.cluster)
    try:
        gateways.metrics.query("vector(1)")
        return [*monitors, *_asked(specs, profile, gateways)]
    except GenaiError as error:
        return [*monitors, Finding("fail", error.what, error.remedy)]


def _asked(specs: Sequence[ModelSpec], profile: Profile, gateways: Gateways) -> Iterator[Finding]:
    metrics, url = gateways.metrics, profile.prometheus_url
    if metrics.query(selector("up", equals("namespace", profile.namespace))):
        yield Finding("ok", f"{url} has samples of namespace {profile.namespace}")
    elif gateways.cluster.list("Pod", MANAGED_BY):
        remedy = " ".join(filter(None, [_to_write_to(url or "", profile.region), WRONG_RELEASE]))
        yield Finding("fail", f"{url} has no sample of any pod in namespace {profile.namespace}", remedy)
    else:
        yield Finding("ok", f"{url} answers. No pod runs in namespace {profile.namespace} yet")
    if any(spec.serving.gpu for spec in specs):
        yield _gpus(metrics, profile.namespace)
    yield from _remote_write(metrics, profile)


def _monitors(profile: Profile, cluster: Cluster) -> list[Finding]:
    """Look at the monitors as they are in the cluster: a label that someone took off hides them."""
    found: list[Finding] = []
    for wanted in render_monitoring(profile):
        kind, name = wanted["kind"], wanted["metadata"]["name"]
        try:
            if not cluster.knows(kind):
                return [Finding("fail", f"the cluster does not know {kind}, so nothing is scraped by it", NO_OPERATOR)]
            there = cluster.get(kind, name)
        except GenaiError as error:
            return [Finding("warn", error.what, error.remedy)]
        labels = there["metadata"].get("labels") or {} if there else {}
        if there and labels.get("release") != OPERATOR:
            found.append(
                Finding("fail", f"{kind} {name} has the label release={labels.get('release')!r}", WRONG_RELEASE)
            )
    return found or [Finding("ok", f"the monitors in namespace {profile.namespace} have the operator's label")]


def _gpus(metrics: Metrics, namespace: str) -> Finding:
    series = metrics.query(GPU_SERIES)
    if not series:
        remedy = "Install dcgm-exporter with deploy/observability/dcgm-exporter.yaml, and let Prometheus scrape it."
        return Finding("warn", f"there is no {GPU_SERIES}, so no GPU is seen", remedy)
    ours = [
        labels for _, labels, _ in series if namespace in (labels.get("exported_namespace"), labels.get("namespace"))
    ]
    if not any(labels.get("exported_pod") or (labels.get("pod") and labels.get("container")) for labels in ours):
        return Finding("warn", f"no series of a GPU names a pod of namespace {namespace}", WITHOUT_PODS)
    return Finding("ok", f"series of GPUs name pods of namespace {namespace}")


def _remote_write(metrics: Metrics, profile: Profile) -> Iterator[Finding]:
    """Of a Prometheus that scrapes. A store of samples has none of these series unless it is written there, too."""
    lost = [labels.get("url", "?") for _, labels, _ in metrics.query(LOST)]
    for url in lost:
        remedy = " ".join(filter(None, [_to_write_to(url, profile.region), ITS_LOG]))
        yield Finding("fail", f"{url} refuses samples, and they are lost", remedy)
    scrapes = metrics.query("prometheus_build_info")
    if profile.has_eks_nodes and scrapes and not metrics.query(WRITTEN_TO):
        what = "Prometheus scrapes, and writes nothing to Amazon Managed Prometheus: it has no remote write"
        remedy = "Add remoteWrite, as in deploy/observability/kube-prometheus-stack.yaml, if samples shall outlive it."
        yield Finding("warn", what, remedy)


def _to_write_to(url: str, region: str) -> str:
    """Return what a Prometheus needs to write to a workspace of AMP, or an empty text for another address."""
    workspace = workspace_of(url)
    return workspace.needs(WRITE, WRITER, region) if workspace else ""
