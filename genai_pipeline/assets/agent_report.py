"""m/agent_report: the agent put through the suite that the model file names."""

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table


def _evaluate(hand: InHand) -> Findings:
    from genai_pipeline.evaluation.report import evaluate

    url = hand.platform.candidates.agent_url(hand.release)
    gates = hand.spec.gates.agent
    result = evaluate(url, gates.suite, gates, hand.say, hand.platform.profile.weather_url)
    metadata = {
        "cases": table(result.cases),
        "figures": table([{"figure": k, "value": v} for k, v in result.summary.items()]),
        "suite": gates.suite,
    }
    unsolved = [row["case"] for row in result.cases if row.get("success") == "no" or row.get("right_tools") == "no"]
    return Findings(result.verdicts, metadata, {"agent": {**result.summary, "unsolved": unsolved}})


AGENT_REPORT = ReleaseAsset(
    name="agent_report",
    deps=("agent_candidate",),
    kinds=frozenset({"strands"}),
    description="Task success, tool choice and arguments, isolation of sessions, latency, case by case.",
    work=_evaluate,
)
