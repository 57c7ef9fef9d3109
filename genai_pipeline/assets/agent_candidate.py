"""m/agent_candidate: the Strands agent on the candidate engine."""

import dagster as dg

from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.verdict import judge
from genai_pipeline.resources.configured import EndpointsResource, RolloutResource


@release_asset(
    # After the load test, not beside it: the agent's own questions would count as load.
    deps=["candidate", "serving_report"],
    kinds={"strands", "kubernetes"},
    checks=CHECKS["agent_candidate"],
)
def agent_candidate(context: ReleaseContext, endpoints: EndpointsResource, rollout: RolloutResource) -> AssetResult:
    """The agent of this release, talking to this release's own engine."""
    release = context.release
    url = rollout.engines().candidates().start_agent(context.spec, release, context.log)
    agent = endpoints.agent(url)
    engine = agent.release()
    answer = agent.ask("Hello")
    ok = engine == release.id and bool(answer.text.strip())
    summary = f"The agent talks to {engine} (expected {release.id}) and answered {answer.text.strip()!r} to 'Hello'."
    verdict = judge("agent_answers", ok, summary, question="Hello", answer=answer.text, engine=engine)
    metadata = {"endpoint": dg.MetadataValue.url(f"{url}/agent"), "object": release.agent_object_name}
    return AssetResult([verdict], metadata)
