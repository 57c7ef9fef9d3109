"""m/capacity: room for the candidate, checked before anything is started."""

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.rollout.capacity import plan_capacity


def _plan(hand: InHand) -> Findings:
    platform, release = hand.platform, hand.release
    live = platform.records.live(release.model)
    plan = plan_capacity(
        hand.spec,
        platform.gateways.cluster.headroom(),
        candidate_is_up=platform.candidates.is_up(release),
        live_is_up=live is not None and live.release != release.id,
    )
    strategy = plan.strategy or "none"
    return Findings(plan.verdicts, {"strategy": strategy}, {"strategy": strategy})


CAPACITY = ReleaseAsset(
    name="capacity",
    deps=("platform/node_pools",),
    kinds=frozenset({"karpenter"}),
    description="Whether the candidate fits beside the live release, and how traffic will move.",
    work=_plan,
)
