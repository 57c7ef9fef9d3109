"""Build the gateways for a profile. Nothing here connects: each gateway does so on first use."""

from __future__ import annotations

from genai_pipeline.core.errors import Refused
from genai_pipeline.core.profile import Profile
from genai_pipeline.gateways import Gateways
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.metrics.abc import Metrics


def gateways_for(profile: Profile) -> Gateways:
    """The real gateways of a profile."""
    from genai_pipeline.gateways.agent.http import HttpAgent
    from genai_pipeline.gateways.inference.openai import OpenAIInference
    from genai_pipeline.gateways.store.s3 import S3Store

    return Gateways(
        hub=_hub(profile),
        store=S3Store(profile.bucket, profile.s3_endpoint, profile.region),
        cluster=_cluster(profile),
        inference=OpenAIInference,
        agent=HttpAgent,
        metrics=_metrics(profile),
    )


def _hub(profile: Profile) -> Hub:
    from genai_pipeline.gateways.hub.fallback import FallbackHub
    from genai_pipeline.gateways.hub.huggingface import PUBLIC, HuggingFaceHub

    hub = HuggingFaceHub(profile.hub_endpoint)
    return FallbackHub(hub, HuggingFaceHub(PUBLIC)) if profile.has_embedded_hub else hub


def _cluster(profile: Profile) -> Cluster:
    from genai_pipeline.gateways.cluster.local.client import LocalCluster

    if profile.cluster_endpoint is None:
        raise Refused(f"GENAI_PROFILE={profile.name} has no cluster gateway yet.", "Use GENAI_PROFILE=local.")
    return LocalCluster(profile.cluster_endpoint, profile.namespace)


def _metrics(profile: Profile) -> Metrics:
    from genai_pipeline.gateways.metrics.engine import EngineMetricsReader

    if profile.prometheus_url is None:
        return EngineMetricsReader()
    from genai_pipeline.gateways.metrics.prometheus import PrometheusMetrics

    return PrometheusMetrics(profile.prometheus_url)
