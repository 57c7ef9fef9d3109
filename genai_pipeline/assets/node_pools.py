"""platform/node_pools: the pools that nodes come from, applied and then proven."""

from collections.abc import Sequence

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.resources.configured import ClusterResource, ProfileResource


def node_pools_asset(specs: Sequence[ModelSpec]) -> dg.AssetsDefinition:
    """The asset for the models of this code location: the GPU pool offers what they ask for."""

    @dg.asset(
        key=[GROUP, "node_pools"],
        group_name=GROUP,
        kinds={"karpenter"},
        check_specs=check_specs("node_pools"),
        description="The system, general and GPU pools, as EKS Auto Mode runs them: applied, then proven by probes.",
    )
    def node_pools(profile: ProfileResource, cluster: ClusterResource) -> dg.MaterializeResult:
        from genai_pipeline.rollout.pools.pool_proof import PoolProof

        with explained():
            proof = PoolProof(cluster.client(), profile.settings()).prove(specs)
        return result("node_pools", proof.verdicts, form=proof.form, pools=len(proof.pools))

    return node_pools
