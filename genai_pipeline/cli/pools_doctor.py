"""`genai doctor` about nodes: one for each model with a GPU, and on EKS the node pools as the cluster has them."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.cli.doctor import Finding
from genai_pipeline.core.errors import GenaiError, UnknownKind
from genai_pipeline.core.model_spec import Gpu, ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.cluster.pods import Object
from genai_pipeline.k8s.placement import gpu_in_words
from genai_pipeline.k8s.render import render_engine, render_node_pools
from genai_pipeline.rollout.pools.instance_types import UNKNOWN
from genai_pipeline.rollout.pools.node_fit import why_not_in
from genai_pipeline.rollout.pools.node_offer import why_no_node
from genai_pipeline.rollout.pools.pool_requirements import live_problems


def pool_findings(specs: Sequence[ModelSpec], profile: Profile, cluster: Cluster) -> list[Finding]:
    """Look at the node pools of EKS: would ours be taken, and does Karpenter understand those that are there?"""
    if not profile.has_eks_nodes:
        return []
    try:
        cluster.diff(render_node_pools(profile, specs))
        refused = []
    except UnknownKind:
        return []  # `eks_findings` names the kind
    except GenaiError as error:
        refused = [Finding("fail", error.what, error.remedy)]
    try:
        found = live_problems(cluster.list("NodePool"))
    except GenaiError as error:
        return [*refused, Finding("warn", error.what, error.remedy)]
    wrong = [Finding("fail", f"in the cluster: {p.where}: {p.what}", p.remedy) for p in found]
    return [*refused, *wrong] or [Finding("ok", "Karpenter understands each requirement of the node pools")]


def gpu_findings(specs: Sequence[ModelSpec], profile: Profile, cluster: Cluster) -> list[Finding]:
    """Look for a node for each model with a GPU. On EKS a rollout does that, with its own pools."""
    asking = [(spec, gpu) for spec in specs if (gpu := spec.serving.gpu) and not profile.has_eks_nodes]
    if not asking:
        return []
    try:
        nodes, pools = cluster.list("Node"), [p for p in cluster.list("NodePool") if p.get("status")]
    except GenaiError as error:
        return [Finding("fail", error.what, error.remedy)]
    unused = [
        Finding(
            "warn",
            f"{spec.name}: serving.gpu.instance-family is a word of EKS, and chooses no node in this profile",
            "Choose nodes by their labels, in serving.gpu.selector, or leave it out.",
        )
        for spec, gpu in asking
        if "instance_family" in gpu.model_fields_set and not gpu.selector
    ]
    return [*unused, *(_node_finding(spec, gpu, profile, nodes, pools) for spec, gpu in asking)]


def _node_finding(
    spec: ModelSpec, gpu: Gpu, profile: Profile, nodes: Sequence[Object], pools: Sequence[Object]
) -> Finding:
    (deployment, *_) = render_engine(spec, Release.of(spec, "0" * 40), profile)
    pod, asked = deployment["spec"]["template"]["spec"], gpu_in_words(gpu, profile)
    why = why_no_node(pod, nodes)
    if not why:
        return Finding("ok", f"{spec.name}: there is a node for {asked}")
    hosting = [pool["metadata"]["name"] for pool in pools if not why_not_in(pod, pool, UNKNOWN)]
    if hosting:
        return Finding("ok", f"{spec.name}: NodePool {', '.join(hosting)} may bring a node for {asked}")
    remedy = "`kubectl describe nodes` shows their labels, taints and resources."
    return Finding("fail", f"{spec.name}: there is no node for {asked}: {why}", remedy)
