"""The check on platform/node_pools that a schedule asks: NodePools in the cluster that someone changed by hand."""

import dagster as dg

from genai_pipeline.assets.check_results import check_result
from genai_pipeline.assets.platform_asset import GROUP
from genai_pipeline.core.checks import UPKEEP_CHECKS
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.resources.configured import ClusterResource

KEY = (GROUP, "node_pools")


def live_node_pools_check() -> dg.AssetChecksDefinition:
    """Between rollouts nothing else looks at them, and Karpenter calls a pool with a misspelt label Ready."""
    ((name, question),) = UPKEEP_CHECKS["node_pools"].items()

    @dg.asset_check(asset=list(KEY), name=name, description=question)
    def live_node_pools(cluster: ClusterResource) -> dg.AssetCheckResult:
        from genai_pipeline.core.verdict import inconclusive
        from genai_pipeline.rollout.pools.pool_requirements import judge_live_requirements

        try:
            verdict = judge_live_requirements(cluster.client().list("NodePool"))
        except GenaiError as error:
            verdict = inconclusive(name, str(error))
        return check_result(KEY, verdict)

    return live_node_pools
