"""m/live: user traffic on this release. Re-reads the record and refuses a release that is not proven.

Its own run (`promote_<group>`) follows once the rollout's run has proven the release.
"""

from datetime import datetime

import dagster as dg

from genai_pipeline.assets.release_asset import Findings, InHand, ReleaseAsset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError, NotReady, ReleaseRefused
from genai_pipeline.core.record import ON_ITS_WAY, Record
from genai_pipeline.rollout.control.rollout_plan import why_not_yet
from genai_pipeline.rollout.record.history import history_table

PROMOTES_ITSELF = "Nothing else to do: the version sensor starts the promotion as soon as that has changed."


def _go_live(hand: InHand) -> Findings:
    record = hand.engines.cut_over().refuse_unless_proven(hand.release)
    live = hand.engines.records().live(hand.release.model)
    if live is None or live.release != hand.release.id:  # else it was killed on the way, and only finishes
        if wait := why_not_yet(hand.spec, record, datetime.fromisoformat(utc_now())):
            raise ReleaseRefused(f"{record.model}@{record.release} gets no traffic yet: {wait}.", PROMOTES_ITSELF)
        if not hand.engines.candidates().is_up(hand.release):
            raise _not_up(record)
    return _cut_over(hand)


def _not_up(record: Record) -> GenaiError:
    """Only what is on its way has another attempt; of what had the traffic before, nothing was found out."""
    what = f"{record.model}@{record.release} does not run any more."
    if record.phase in ON_ITS_WAY:
        return NotReady(what, "The next attempt starts it again.")
    return ReleaseRefused(what, f"`genai rollback {record.model} --to {record.release}` starts it and goes back to it.")


def _cut_over(hand: InHand) -> Findings:
    from genai_pipeline.loadtest.probe import ContinuousProbe

    engines, release = hand.engines, hand.release
    verdicts = engines.cut_over().go_live(hand.spec, release, ContinuousProbe, hand.say)
    verdict_table = [
        {"check": name, "outcome": str(v.outcome), "evidence": v.summary}
        for name, v in sorted(hand.record.verdicts.items())
    ]
    releases, _ = engines.records().readable(release.model)
    metadata = {
        "endpoint": dg.MetadataValue.url(f"{engines.traffic().url(release.model)}/v1"),
        "agent": dg.MetadataValue.url(f"{engines.traffic().url(release.model, 'agent')}/agent"),
        "record": table(verdict_table),
        "history": table(history_table(releases, engines.records().live(release.model))),
    }
    return Findings(verdicts, metadata)


LIVE = ReleaseAsset(
    name="live",
    deps=("serving_report", "agent_report"),
    kinds=frozenset({"kubernetes"}),
    description="The release behind the stable address. Moves traffic only when the record proves the release.",
    work=_go_live,
    moves_traffic=True,
)
