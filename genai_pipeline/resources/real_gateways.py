"""The real gateways of a profile. Nothing here connects: each gateway does so on first use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache

from genai_pipeline.core.errors import EngineUnavailable, Refused
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways, StoreKeys
from genai_pipeline.gateways.aws.abc import Aws
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.gateways.webhook.abc import Webhook
from genai_pipeline.k8s.templating import MANAGED_BY


@cache
def gateways_for(profile: Profile, keys: StoreKeys | None = None) -> Gateways:
    """Return the real gateways of a profile.

    There is one set of them in a process: they keep connections, and remember what a hub or a store answered.

    Args:
        keys: of the store; None means boto3's own chain (environment, IAM role).
    """
    from genai_pipeline.gateways.agent.http_agent import HttpAgent
    from genai_pipeline.gateways.inference.openai import OpenAIInference
    from genai_pipeline.gateways.store.s3 import S3Store
    from genai_pipeline.gateways.store.s3_settings import S3Settings

    cluster = _cluster(profile)
    given = (keys.key_id, keys.secret) if keys else (None, None)
    return Gateways(
        hub=_hub(profile),
        store=S3Store(profile.bucket, S3Settings(profile.s3_endpoint, profile.region, *given, kms_key=profile.kms_key)),
        cluster=cluster,
        inference=OpenAIInference,
        agent=HttpAgent,
        metrics=_metrics(profile, cluster),
        aws=_aws(profile),
        webhook=_webhook(),
        store_keys=keys or environment_keys(),
    )


def environment_keys() -> StoreKeys | None:
    """Return the AWS keys of this process: pods without an identity of their own read the store with them."""
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    return StoreKeys(key_id, secret) if key_id and secret else None


def _hub(profile: Profile) -> Hub:
    from genai_pipeline.gateways.hub.fallback import FallbackHub
    from genai_pipeline.gateways.hub.huggingface import PUBLIC, HuggingFaceHub

    hub = HuggingFaceHub(profile.hub_endpoint)
    return FallbackHub(hub, HuggingFaceHub(PUBLIC)) if profile.has_embedded_hub else hub


def _cluster(profile: Profile) -> Cluster:
    if profile.name == "local":
        from genai_pipeline.gateways.cluster.local import LocalCluster

        if profile.cluster_endpoint is None:
            raise Refused("The local profile has no address of its cluster.", "Run `genai up`, which writes it.")
        return LocalCluster(profile.cluster_endpoint, profile.namespace)
    from genai_pipeline.gateways.cluster.kubernetes import KubernetesCluster

    return KubernetesCluster(profile.namespace, access=profile.cluster_access)


def _metrics(profile: Profile, cluster: Cluster) -> Metrics:
    from genai_pipeline.gateways.metrics.engine_metrics import EngineMetricsReader
    from genai_pipeline.gateways.metrics.gpu_exporter_metrics import LaptopEngineReader

    labels_of, gpus_at = labels_by_endpoint(cluster), profile.gpu_exporter_url
    engine = LaptopEngineReader(gpus_at, labels_of) if gpus_at else EngineMetricsReader()
    if profile.prometheus_url is None:
        return engine
    from genai_pipeline.gateways.metrics.amazon_workspace import signing_region
    from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics
    from genai_pipeline.gateways.metrics.sigv4 import SigV4

    region = signing_region(profile)
    auth = SigV4(region) if region else None
    prometheus = PrometheusMetrics(profile.prometheus_url, auth=auth, labels_of=labels_of)
    if profile.name != "local":
        return prometheus
    from genai_pipeline.gateways.metrics.laptop_metrics import MetricsOfOneMachine

    def pods_behind(url: str) -> int:
        try:
            service = cluster.get("Service", labels_of(url)["service"])
        except EngineUnavailable:  # Prometheus knows no such engine
            return 1
        return len(cluster.list("Pod", service["spec"]["selector"])) if service else 0

    return MetricsOfOneMachine(profile.prometheus_url, engine, prometheus, pods_behind)


def _aws(profile: Profile) -> Aws | None:
    if profile.name != "eks":
        return None
    from genai_pipeline.gateways.aws.ec2 import Ec2

    return Ec2(profile.region)


def _webhook() -> Webhook | None:
    from genai_pipeline.gateways.webhook.http_webhook import VARIABLE, HttpWebhook

    url = os.environ.get(VARIABLE)
    return HttpWebhook(url) if url else None


def labels_by_endpoint(cluster: Cluster) -> Callable[[str], Mapping[str, str]]:
    """Labels of the series of the Service that `cluster.endpoint` leads to: an address or a relay names none itself.

    Raises, when it is asked: EngineUnavailable: no Service of the pipeline has that address.
    """
    known: dict[str, Mapping[str, str]] = {}

    def labels(base_url: str) -> Mapping[str, str]:
        if base_url not in known:
            names = [service["metadata"]["name"] for service in cluster.list("Service", MANAGED_BY)]
            found = {cluster.endpoint(name): name for name in names}
            if base_url not in found:
                raise EngineUnavailable(
                    f"{base_url} is not the address of a Service of the pipeline in namespace {cluster.namespace}.",
                    "Unset GENAI_PROMETHEUS_URL to read the engine's own /metrics.",
                )
            known[base_url] = {"namespace": cluster.namespace, "service": found[base_url]}
        return known[base_url]

    return labels
