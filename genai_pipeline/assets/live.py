"""m/live: user traffic on this release. Reads the record again, and refuses a release that is not proven.

Its own run (`promote_<group>`) follows once the rollout's run has proven the release.
"""

from datetime import datetime

import dagster as dg

from genai_pipeline.assets.release_asset import AssetResult, ReleaseContext, release_asset
from genai_pipeline.assets.tables import table
from genai_pipeline.core.checks import CHECKS
from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.errors import GenaiError, NotReady, ReleaseRefused
from genai_pipeline.core.record import ON_ITS_WAY, Record
from genai_pipeline.resources.configured import RolloutResource
from genai_pipeline.resources.engines import Engines
from genai_pipeline.rollout.control.rollout_plan import why_not_yet
from genai_pipeline.rollout.record.history import history_table

NOT_APPLICABLE = "not applicable"
PROMOTES_ITSELF = "Nothing else to do: the version sensor starts the promotion as soon as that has changed."


@release_asset(deps=["serving_report", "agent_report"], kinds={"kubernetes"}, checks=CHECKS["live"], moves_traffic=True)
def live(context: ReleaseContext, rollout: RolloutResource) -> AssetResult:
    """The release behind the stable address. Moves traffic only when the record proves the release."""
    from genai_pipeline.loadtest.probe import ContinuousProbe

    engines = rollout.engines()
    _refuse_unless_ready(context, engines)
    verdicts = engines.cut_over().go_live(context.spec, context.release, ContinuousProbe, context.log)
    return AssetResult(verdicts, _metadata(context, engines))


def _refuse_unless_ready(context: ReleaseContext, engines: Engines) -> None:
    """Raise an error unless the release is proven, may go live now, and runs."""
    record = engines.cut_over().refuse_unless_proven(context.release)
    pointer = engines.records().live(context.release.model)
    if pointer and pointer.release == context.release.id:  # a promotion was killed: this one finishes it
        return
    if wait := why_not_yet(context.spec, record, datetime.fromisoformat(utc_now())):
        raise ReleaseRefused(f"{record.model}@{record.release} gets no traffic yet: {wait}.", PROMOTES_ITSELF)
    if not engines.candidates().is_up(context.release):
        raise _not_up(record)


def _not_up(record: Record) -> GenaiError:
    """Return NotReady for a release that has another attempt; a refusal for one that had the traffic before."""
    what = f"{record.model}@{record.release} does not run any more."
    if record.phase in ON_ITS_WAY:
        return NotReady(what, "The next attempt starts it again.")
    return ReleaseRefused(what, f"`genai rollback {record.model} --to {record.release}` starts it and goes back to it.")


def _metadata(context: ReleaseContext, engines: Engines) -> dict[str, dg.MetadataValue]:
    model, record = context.release.model, context.record
    rows = {
        name: {"check": name, "outcome": NOT_APPLICABLE, "evidence": why} for name, why in record.not_applicable.items()
    }
    for name, verdict in record.verdicts.items():
        rows[name] = {"check": name, "outcome": str(verdict.outcome), "evidence": verdict.summary}
    agent = engines.traffic().address(model, "agent") if context.release.has_agent else None
    return {
        **what_serves(engines, model),
        **({"agent": dg.MetadataValue.url(f"{agent}/agent")} if agent else {}),
        "record": table([rows[name] for name in sorted(rows)]),
    }


def what_serves(engines: Engines, model: str) -> dict[str, dg.MetadataValue]:
    """Return the stable address of a model and the history of its releases, as metadata of `m/live`."""
    releases, _ = engines.records().readable(model)
    dashboards = engines.profile.dashboards_url
    page = f"{(dashboards or '').rstrip('/')}/d/genai-service?var-model={model}"
    return {
        **({"dashboard": dg.MetadataValue.url(page)} if dashboards else {}),
        "endpoint": dg.MetadataValue.url(f"{engines.traffic().address(model)}/v1"),
        "history": table(history_table(releases, engines.records().live(model))),
    }
