"""The job `prune`: delete staged revisions that nothing refers to. Its schedule is off until it is switched on."""

from collections.abc import Collection, Sequence

import dagster as dg

from genai_pipeline.assets.failures import explained
from genai_pipeline.assets.tables import table
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.run_tags import UPKEEP_TAG
from genai_pipeline.evaluation.stale_results import StaleResults, prune_results
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.resources.configured import HubResource, ModelsResource, StoreResource
from genai_pipeline.resources.runs import references_of_runs
from genai_pipeline.staging.prune_decision import Fate, PruneDecision, References
from genai_pipeline.staging.pruner import Pruned, Pruner


class PruneConfig(dg.Config):
    """What may be chosen in the launchpad."""

    grace_days: float = 7.0
    dry_run: bool = False


@dg.op(out=dg.Out(dg.Nothing))
def prune_staged_models(
    context: dg.OpExecutionContext,
    config: PruneConfig,
    models: ModelsResource,
    store: StoreResource,
    hub: HubResource,
) -> None:
    """Delete staged revisions that nothing refers to any more."""
    files, grace_s = models.files(), config.grace_days * 86400
    with explained():
        pruner = _pruner(context, store.objects(), hub, files, grace_s)
        decisions = pruner.plan()
        pruned = [] if config.dry_run else pruner.carry_out(decisions, context.log.info)
        left = "" if config.dry_run else pruner.tidy()
        names = [spec.name for spec in files.specs]
        results = prune_results(store.objects(), names, grace_s, config.dry_run)
    context.log.info(left or "Nothing that a killed process left was there to delete.")
    _show(context, decisions, pruned, results)


@dg.job(tags={UPKEEP_TAG: "true"})
def prune() -> None:
    """Delete staged revisions that nothing refers to, with their caches, as `genai prune` does; see docs/staging.md."""
    prune_staged_models()


prune_schedule = dg.ScheduleDefinition(
    name="prune",
    job=prune,
    cron_schedule="41 4 * * 0",
    execution_timezone="UTC",
    # Off until a user switches it on: it deletes, and the bucket may be shared.
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Sunday: delete staged revisions that nothing has referred to for a week.",
)


def _pruner(
    context: dg.OpExecutionContext, store: ObjectStore, hub: HubResource, files: ModelFiles, grace_s: float
) -> Pruner:
    from genai_pipeline.staging.named_revisions import NamedRevisions
    from genai_pipeline.staging.references import references_to

    named = NamedRevisions(store, files.specs)

    def referring(models: Collection[str]) -> References:
        runs = references_of_runs(context.instance)
        return references_to(models, store, hub.source, files, lambda: runs, named_in_args=named)

    return Pruner(store, referring, grace_s)


def _show(
    context: dg.OpExecutionContext,
    decisions: Sequence[PruneDecision],
    pruned: Sequence[Pruned],
    results: Sequence[StaleResults],
) -> None:
    """As metadata of the step, and what is unclear as warnings."""
    done = {p.decision.staged: p for p in pruned}
    final = [done[d.staged].decision if d.staged in done else d for d in decisions]
    rows = [
        {
            "model": d.staged.model,
            "revision": d.staged.revision,
            "bytes": d.staged.size_bytes,
            "cache_bytes": d.staged.cache_bytes,
            "fate": "deleted" if d.staged in done and done[d.staged].deleted else str(d.fate),
            "why": d.why,
        }
        for d in final
    ]
    for decision in final:
        if decision.fate is Fate.UNCLEAR:
            context.log.warning(f"kept {decision.staged.model}/{decision.staged.revision}: {decision.why}")
    freed = sum(p.decision.staged.size_bytes for p in pruned if p.deleted)
    stale = [{"results": each.key, "bytes": each.size_bytes, "why": each.why} for each in results]
    more = {"results": table(stale)} if stale else {}
    context.add_output_metadata({"revisions": table(rows), "bytes_freed": freed, **more})
