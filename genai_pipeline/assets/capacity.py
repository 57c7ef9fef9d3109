"""m/capacity: room for the candidate, its cost, and how traffic will move, before anything is started."""

from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.facts import Facts
from genai_pipeline.resources.configured import RolloutResource


@release_asset(deps=["platform/node_pools"], kinds={"karpenter"}, checks=CHECKS["capacity"])
def capacity(context: ReleaseContext, rollout: RolloutResource) -> AssetResult:
    """Room for the candidate beside the live release, its cost, and how traffic will move."""
    from genai_pipeline.rollout.capacity.capacity_plan import plan_capacity
    from genai_pipeline.rollout.capacity.downtime import expected_downtime
    from genai_pipeline.rollout.capacity.standing import standing_of
    from genai_pipeline.rollout.capacity.survey import survey

    engines, spec, release = rollout.engines(), context.spec, context.release
    standing = standing_of(context.record, engines.records(), engines.candidates())
    engines.candidates().refuse_unknown(spec, release)
    found = survey(engines.gateways, engines.profile, spec, release, standing.live)
    plan = plan_capacity(
        spec,
        found,
        standing,
        downtime=lambda: expected_downtime(spec, engines.records().readable(release.model)[0]),
    )
    strategy = plan.strategy or "none"
    facts = Facts(strategy=strategy, live_may_sleep=plan.live_may_sleep)
    return AssetResult(plan.verdicts, {"strategy": strategy, "plan": table(plan.rows)}, facts)
