"""m/agent_candidate: the Strands agent on the candidate engine."""

import dagster as dg

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.core.verdict import judge


def _start(hand: InHand) -> Findings:
    engines, release = hand.engines, hand.release
    url = engines.candidates().start_agent(release, hand.say)
    agent = engines.gateways.agent(url)
    on = agent.release()
    answer = agent.ask("Hello")
    ok = on == release.id and bool(answer.text.strip())
    summary = f"The agent talks to {on} (expected {release.id}) and answered {answer.text.strip()!r} to 'Hello'."
    verdict = judge("agent_answers", ok, summary, question="Hello", answer=answer.text, engine=on)
    return Findings([verdict], {"endpoint": dg.MetadataValue.url(f"{url}/agent"), "object": release.agent_object_name})


AGENT_CANDIDATE = ReleaseAsset(
    name="agent_candidate",
    # After the load, not beside it: the agent's own questions would count as load.
    deps=("candidate", "serving_report"),
    kinds=frozenset({"strands", "kubernetes"}),
    description="The agent of this release, talking to this release's own engine.",
    work=_start,
)
