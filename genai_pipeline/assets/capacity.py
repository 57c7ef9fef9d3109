"""m/capacity: room for the candidate, what it costs and how traffic will move, before anything is started."""

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.facts import Facts


def _plan(hand: InHand) -> Findings:
    from genai_pipeline.rollout.capacity.capacity_plan import plan_capacity
    from genai_pipeline.rollout.capacity.downtime import expected_downtime
    from genai_pipeline.rollout.capacity.standing import standing_of
    from genai_pipeline.rollout.capacity.survey import survey

    engines, spec, release = hand.engines, hand.spec, hand.release
    standing = standing_of(hand.record, engines.records(), engines.candidates())
    found = survey(engines.gateways, engines.profile, spec, release, standing.live)
    plan = plan_capacity(
        spec,
        found,
        standing,
        downtime=lambda: expected_downtime(spec, engines.records().readable(release.model)[0]),
    )
    strategy = plan.strategy or "none"
    return Findings(plan.verdicts, {"strategy": strategy, "plan": table(plan.rows)}, Facts(strategy=strategy))


CAPACITY = ReleaseAsset(
    name="capacity",
    deps=("platform/node_pools",),
    kinds=frozenset({"karpenter"}),
    description="Whether the candidate fits beside the live release, what that costs, and how traffic will move.",
    work=_plan,
)
