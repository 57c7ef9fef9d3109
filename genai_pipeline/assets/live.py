"""m/live: user traffic on this release. Re-reads the record and refuses what is not all passed."""

import dagster as dg

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table


def _cut_over(hand: InHand) -> Findings:
    from genai_pipeline.loadtest.probe import ContinuousProbe

    platform, release = hand.platform, hand.release
    verdicts = platform.cut_over.go_live(hand.spec, release, ContinuousProbe, hand.say)
    verdict_table = [
        {"check": name, "outcome": str(v.outcome), "evidence": v.summary}
        for name, v in sorted(hand.record.verdicts.items())
    ]
    metadata = {
        "endpoint": dg.MetadataValue.url(f"{platform.traffic.url(release.model)}/v1"),
        "agent": dg.MetadataValue.url(f"{platform.traffic.url(release.model, 'agent')}/agent"),
        "record": table(verdict_table),
    }
    return Findings(verdicts, metadata)


LIVE = ReleaseAsset(
    name="live",
    deps=("serving_report", "agent_report"),
    kinds=frozenset({"kubernetes"}),
    description="The release behind the stable address. Moves traffic only when the record proves the release.",
    work=_cut_over,
)
