"""m/candidate: the release running beside the live one, proven by real completions."""

import dagster as dg

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.core.facts import Facts
from genai_pipeline.k8s.engine import engine_args
from genai_pipeline.k8s.render import weights_url


def _start(hand: InHand) -> Findings:
    from genai_pipeline.loadtest.acceptance import accept_candidate
    from genai_pipeline.rollout.capacity.downtime import refuse_unless_allowed
    from genai_pipeline.rollout.capacity.standing import standing_of
    from genai_pipeline.rollout.upkeep.drift_detection import deployed

    engines, release = hand.engines, hand.release
    if hand.record.facts.strategy == "recreate":
        refuse_unless_allowed(hand.spec, standing_of(hand.record, engines.records(), engines.candidates()))
        engines.cut_over().make_room_for(hand.spec, release, hand.say)
    url = engines.candidates().start_engine(hand.spec, release, hand.say)
    inference = engines.gateways.inference(url)
    verdicts = accept_candidate(
        inference, engines.gateways.metrics, release.model, weights_url(engines.profile, release)
    )
    arguments = engine_args(hand.spec.serving, release, engines.profile)
    metadata = {
        "endpoint": dg.MetadataValue.url(f"{url}/v1"),
        "object": release.object_name,
        "engine_arguments": " ".join(arguments),
    }
    return Findings(verdicts, metadata, Facts(deployed=deployed(hand.spec, release, engines.profile)))


CANDIDATE = ReleaseAsset(
    name="candidate",
    deps=("staged_model", "capacity", "platform/observability"),
    kinds=frozenset({"vllm", "kubernetes"}),
    description="The engine of this release, without user traffic, answering real completions.",
    work=_start,
)
