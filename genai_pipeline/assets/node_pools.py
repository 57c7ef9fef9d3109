"""platform/node_pools: the pools that nodes come from, applied and then proven."""

from collections.abc import Iterator

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.platform_asset import GROUP, check_specs, result
from genai_pipeline.resources.configured import ClusterResource, ModelsResource, ProfileResource


def node_pools_of(there_are_some: bool) -> dg.AssetsDefinition:
    """Return the asset. Without node pools it has no checks."""
    checks = check_specs("node_pools") if there_are_some else []

    @dg.asset(key=[GROUP, "node_pools"], group_name=GROUP, kinds={"karpenter"}, check_specs=checks)
    def node_pools(
        models: ModelsResource, profile: ProfileResource, cluster: ClusterResource
    ) -> Iterator[dg.MaterializeResult]:
        """On EKS the system, general and GPU pools: applied, then proven by probes. Elsewhere there are no pools."""
        from genai_pipeline.rollout.pools.pool_proof import NOT_OURS, PoolProof

        with explained():
            proof = PoolProof(cluster.client(), profile.settings()).prove(models.files().specs)
        why = {} if checks else {"not_applicable": NOT_OURS}
        yield from result("node_pools", proof.verdicts, form=proof.form, pools=len(proof.pools), **why)

    return node_pools
