"""Any Kubernetes cluster, from inside it or from outside, through the official client."""

from genai_pipeline.gateways.cluster.kubernetes.kubernetes_cluster import KubernetesCluster

__all__ = ["KubernetesCluster"]
