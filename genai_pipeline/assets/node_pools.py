"""platform/node_pools: the pools that nodes come from, applied and then proven."""

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.resources.configured import ClusterResource, ModelsResource, ProfileResource


@dg.asset(key=[GROUP, "node_pools"], group_name=GROUP, kinds={"karpenter"}, check_specs=check_specs("node_pools"))
def node_pools(models: ModelsResource, profile: ProfileResource, cluster: ClusterResource) -> dg.MaterializeResult:
    """The system, general and GPU pools, as EKS Auto Mode runs them: applied, then proven by probes."""
    from genai_pipeline.rollout.pools.pool_proof import PoolProof

    with explained():
        proof = PoolProof(cluster.client(), profile.settings()).prove(models.files().specs)
    return result("node_pools", proof.verdicts, form=proof.form, pools=len(proof.pools))
