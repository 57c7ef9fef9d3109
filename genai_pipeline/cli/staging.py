"""Commands about staged models: stage, verify, prune."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from genai_pipeline.cli.context import Command, Context
from genai_pipeline.core.errors import GenaiError, NotFound, NotReady, Unavailable
from genai_pipeline.core.progress import Log

if TYPE_CHECKING:
    from genai_pipeline.core.model_snapshot import Snapshot
    from genai_pipeline.core.model_spec import ModelSpec
    from genai_pipeline.evaluation.stale_results import StaleResults
    from genai_pipeline.gateways import Gateways
    from genai_pipeline.gateways.dagster_api import DagsterApi
    from genai_pipeline.gateways.hub.abc import Hub
    from genai_pipeline.gateways.store.abc import ObjectStore
    from genai_pipeline.staging.prune_decision import PruneDecision, Reference, References
    from genai_pipeline.staging.pruner import Pruned, Pruner

STALLED_AFTER_S = 300.0
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def announce(command: Command) -> None:
    stage = command("stage", _stage, "copy a revision of a model to S3 and verify it, without local disk")
    stage.add_argument("model")
    stage.add_argument(
        "--revision", type=_ref, help="commit, branch or tag (default: what the model file's ref stands for now)"
    )
    stage.add_argument("--plan", action="store_true", help="show what would move and what it would cost; move nothing")
    stage.set_defaults(interrupted="Nothing is lost. Run it again; it goes on where it stopped.")
    verify = command("verify", _verify, "compare every byte of a staged model with its manifest")
    verify.add_argument(
        "model",
        metavar="model[@release]",
        help="a release, a revision, or its first digits (default: the live release)",
    )
    verify.add_argument("--sample", type=_share, default=1.0, metavar="N%", help="read a random share of the bytes")
    prune = command("prune", _prune, "delete staged revisions that are no longer referred to")
    prune.add_argument("model", nargs="?", help="default: every model that has a file here")
    prune.add_argument("--dry-run", action="store_true", help="show what would be deleted, and why the rest stays")
    prune.add_argument(
        "--grace", type=_seconds, default="7d", metavar="TIME", help="grace time, such as 12h (default 7d)"
    )
    prune.add_argument("--json", action="store_true", help="for programs")
    prune.set_defaults(interrupted="No half-deleted model is left. Run it again for the rest.")


def _stage(context: Context) -> int:
    from genai_pipeline.cli.staging_view import staged_page, watching
    from genai_pipeline.core.manifest import staged_prefix
    from genai_pipeline.staging.loadable import require_loadable
    from genai_pipeline.staging.preflight import refuse_what_must_not_be_staged
    from genai_pipeline.staging.stager import Stager
    from genai_pipeline.staging.staging_verdicts import require_licence

    gateways, spec = _opened(context, context.args.model)
    store, source = gateways.store, gateways.source(spec.source)
    if not context.args.plan:
        store.ensure_bucket()  # before the source is asked: the digests of some are remembered there
    revision = resolved_revision(source, spec, context.args.revision or spec.source.ref, context.say)
    snapshot = source.snapshot(spec.source.address, revision)
    require_licence(snapshot, spec.source.licences)
    refuse_what_must_not_be_staged(snapshot)
    found = require_loadable(snapshot, source, spec.serving.args)
    for warning in filter(None, (found.chat_problem, *found.warnings)):
        context.say(f"Warning: {warning}")
    if context.args.plan:
        return _show_plan(context, store, spec.name, snapshot)
    with watching(context.console, context.say) as watch:
        manifest = Stager(source, store).stage(spec.name, snapshot, watch.say, watch.observe)
    for line in staged_page(store.url(staged_prefix(spec.name, revision)), manifest, watch.last):
        context.say(line)
    return 0


def resolved_revision(source: Hub, spec: ModelSpec, ref: str, say: Log) -> str:
    """Return the revision that a ref stands for. Waits while a source without commits is read to know its content.

    Raises: NotReady: the reading got nowhere for five minutes.
    """
    said, since = "", time.monotonic()
    while True:
        try:
            return source.resolve(spec.source.address, ref)
        except NotReady as reading:
            if reading.what != said:
                said, since = reading.what, time.monotonic()
                say(said)
            elif time.monotonic() - since > STALLED_AFTER_S:
                raise


def _show_plan(context: Context, store: ObjectStore, model: str, snapshot: Snapshot) -> int:
    from genai_pipeline.cli.staging_view import plan_page
    from genai_pipeline.core.manifest import staged_prefix
    from genai_pipeline.staging.commit import committed
    from genai_pipeline.staging.transfer import PART_SIZE
    from genai_pipeline.staging.transfer_plan import plan_staging

    exists = store.exists()
    if exists and committed(store, model, snapshot.revision):
        context.say(f"{store.url(staged_prefix(model, snapshot.revision))} is staged already: nothing to do.")
        return 0
    planned = plan_staging(model, snapshot, store if exists else None)
    for part in plan_page(model, snapshot, planned, PART_SIZE):
        context.console.print(part, soft_wrap=isinstance(part, str), markup=False)
    if not exists:
        context.say(f"The bucket {store.bucket} does not exist yet: staging creates it, unless GENAI_BUCKET is wrong.")
    return 0


def _verify(context: Context) -> int:
    from genai_pipeline.cli.staging_view import verification_page, watching
    from genai_pipeline.rollout.record.records import Records
    from genai_pipeline.staging.inventory import chosen_manifest
    from genai_pipeline.staging.verify import published_by, verify_staged

    model, _, which = context.args.model.partition("@")
    gateways, spec = _opened(context, model)
    live = None if which else Records(gateways.store).live(model)
    manifest = chosen_manifest(gateways.store, model, which or (live.revision if live else ""))
    published, started = published_by(gateways.source(spec.source), manifest), time.monotonic()
    with watching(context.console, context.say) as watch:
        found = verify_staged(gateways.store, manifest, published, context.args.sample, watch.observe, watch.say)
    for line in verification_page(manifest, found, time.monotonic() - started):
        context.say(line)
    return 0 if found.passed else 1


def _prune(context: Context) -> int:
    from genai_pipeline.cli.staging_view import prune_page, size
    from genai_pipeline.staging.prune_decision import Fate
    from genai_pipeline.staging.pruner import deleted_bytes

    args = context.args
    pruner, named, prune_results = _pruner(context)
    say = (lambda _: None) if args.json else context.say
    decisions = pruner.plan(named)
    pruned = [] if args.dry_run else pruner.carry_out(decisions, say)
    left = [] if args.dry_run else [pruner.tidy()]
    results = prune_results(args.dry_run)
    if args.json:
        sys.stdout.write(json.dumps(_as_json(decisions, pruned, results), indent=1) + "\n")
    else:
        after = {p.decision.staged: p.decision for p in pruned}
        for part in prune_page([after.get(d.staged, d) for d in decisions], "delete" if args.dry_run else "deleted"):
            context.console.print(part)
        going = sum(d.staged.size_bytes for d in decisions if d.fate is Fate.DELETE)
        for each in results:
            context.say(f"{'delete' if args.dry_run else 'deleted'} {each.key}: {each.why}")
        freed = f"{size(going)} would be freed." if args.dry_run else f"{size(deleted_bytes(pruned))} freed."
        context.say(" ".join([freed, *(text for text in left if text)]))
    return 1 if any(d.fate is Fate.UNCLEAR for d in decisions) else 0


def _pruner(context: Context) -> tuple[Pruner, list[str], Callable[[bool], list[StaleResults]]]:
    """The pruner of this profile, the one model that it is for, if there is one, and what prunes results."""
    from genai_pipeline.core.model_file import read_models
    from genai_pipeline.evaluation.stale_results import prune_results
    from genai_pipeline.gateways.dagster_api import DagsterApi
    from genai_pipeline.staging.inventory import models_staged
    from genai_pipeline.staging.named_revisions import NamedRevisions
    from genai_pipeline.staging.pruner import Pruner
    from genai_pipeline.staging.references import references_to

    engines = context.engines()
    gateways, files, model = engines.gateways, read_models(context.models), context.args.model
    known = sorted({spec.name for spec in files.specs} | models_staged(gateways.store))
    if model and model not in known:
        raise NotFound(f"There is no model {model}.", f"Known models: {', '.join(known) or 'none'}.")
    named = [model] if model else []
    api, in_args = DagsterApi(engines.profile.dagster_url), NamedRevisions(gateways.store, files.specs)

    def referring(models: Collection[str]) -> References:
        return references_to(models, gateways.store, gateways.source, files, lambda: _runs(api), named, in_args)

    ours, grace_s = named or [spec.name for spec in files.specs], context.args.grace
    return (
        Pruner(gateways.store, referring, grace_s),
        named,
        lambda dry_run: prune_results(gateways.store, ours, grace_s, dry_run),
    )


def _runs(api: DagsterApi) -> list[Reference]:
    """Raises: Unavailable: nothing may be deleted while it is not known what runs."""
    from genai_pipeline.gateways.dagster_api import NO_DAGSTER
    from genai_pipeline.staging.prune_decision import Reference

    try:
        under_way = api.unfinished_runs()
    except GenaiError as error:
        raise Unavailable(
            f"What runs is not known, so nothing may be deleted: {error.what}",
            NO_DAGSTER,
        ) from error
    return [
        Reference("", run.release.partition("-")[0], f"the run {run.id[:8]} is under way")
        for run in under_way
        if run.release
    ]


def _as_json(
    decisions: Sequence[PruneDecision], pruned: Sequence[Pruned], results: Sequence[StaleResults]
) -> dict[str, object]:
    after = {p.decision.staged: p for p in pruned}
    rows: list[dict[str, object]] = []
    for decision in decisions:
        staged, done = decision.staged, after.get(decision.staged)
        final = done.decision if done else decision
        rows.append(
            {
                "model": staged.model,
                "revision": staged.revision,
                "objects": staged.objects,
                "bytes": staged.size_bytes,
                "cache_bytes": staged.cache_bytes,
                "complete": staged.complete,
                "fate": str(final.fate),
                "why": final.why,
                "deleted": bool(done and done.deleted),
            }
        )
    return {"revisions": rows, "results": [asdict(each) for each in results]}


def _opened(context: Context, model: str) -> tuple[Gateways, ModelSpec]:
    """The doors of this profile, and the model by its name. Raises: NotReady: unknown; says which are known."""
    (spec,) = context.valid_models(model, lambda text: print(text, file=sys.stderr))
    return context.engines().gateways, spec


def _ref(text: str) -> str:
    from genai_pipeline.core.tag_range import TagRange

    try:
        TagRange.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} {error}.") from None
    return text


def _share(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%?", text)
    share = float(found[1]) / 100 if found else 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share. Give a percentage above 0, such as 5%.")
    return share


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw]?)", text)
    if not found or (not found[2] and float(found[1])):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time. Give a number and a unit, such as 12h, 7d or 2w.")
    return float(found[1]) * _UNITS_S[found[2] or "s"]
