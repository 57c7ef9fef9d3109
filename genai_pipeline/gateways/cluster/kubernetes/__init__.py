"""Any Kubernetes cluster, from within it or from outside, through the official client."""

from genai_pipeline.gateways.cluster.kubernetes.client import KubernetesCluster

__all__ = ["KubernetesCluster"]
