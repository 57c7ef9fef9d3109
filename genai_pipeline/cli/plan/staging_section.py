"""The part of a plan about the staging: what moves, how long it takes, what it costs."""

from __future__ import annotations

from dataclasses import replace

from genai_pipeline.cli.plan.plan_page import PlanLine, PlanSection
from genai_pipeline.cli.staging_view import money, rate, size
from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.manifest import staged_prefix
from genai_pipeline.core.model_snapshot import Snapshot
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.record import Record
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.staging.commit import committed
from genai_pipeline.staging.cost import PRICED_BY, STORAGE_PRICED_BY, planned_requests, storage_usd_per_month, usd
from genai_pipeline.staging.meter import TransferMethod
from genai_pipeline.staging.named_revisions import named_revisions
from genai_pipeline.staging.staging_rate import staging_rate
from genai_pipeline.staging.transfer import PART_SIZE
from genai_pipeline.staging.transfer_plan import PlannedFile, plan_staging

TITLE = "Staging"
MOST_MODELS = 20
"""Models whose records are read for a rate, where this model has no record of a staging."""


def look_at_staging(spec: ModelSpec, snapshot: Snapshot, store: ObjectStore, profile: Profile) -> PlanSection:
    """Plan a staging as the stager does, and look for the revisions that arguments name. The bucket need not exist."""
    planned = _look_at_own(spec.name, snapshot, store, profile)
    return replace(planned, lines=[*planned.lines, *_named(spec, store)])


def _named(spec: ModelSpec, store: ObjectStore) -> list[PlanLine]:
    try:
        manifests = named_revisions(store, spec.serving.args)
    except GenaiError as error:
        return [PlanLine.of_error(error, "whether the revisions that serving.args name are staged")]
    return [PlanLine("ok", f"{m.model}/{m.revision}, which serving.args name, is staged.") for m in manifests]


def _look_at_own(model: str, snapshot: Snapshot, store: ObjectStore, profile: Profile) -> PlanSection:
    try:
        there = store.exists()
        if there and committed(store, model, snapshot.revision):
            at = store.url(staged_prefix(model, snapshot.revision))
            lines = [PlanLine("ok", f"{at} is staged already: nothing is copied.")]
            return PlanSection(TITLE, [*lines, _storage(snapshot.size_bytes, profile)], {"bytes_to_stream": 0})
        planned = plan_staging(model, snapshot, store if there else None)
        records = _records(model, store) if there else []
    except GenaiError as error:
        return PlanSection(TITLE, [PlanLine.of_error(error, "what is in the bucket already")])
    return _section(model, snapshot, planned, records, profile, there)


def _section(
    model: str,
    snapshot: Snapshot,
    planned: list[PlannedFile],
    records: list[Record],
    profile: Profile,
    there: bool,
) -> PlanSection:
    moved = {how: sum(item.file.size for item in planned if item.how is how) for how in TransferMethod}
    expected = staging_rate(model, records)
    # Copied and kept files are read back, so every byte passes once.
    minutes = snapshot.size_bytes / expected.bytes_per_s / 60
    requests = planned_requests([(item.file.size, item.how) for item in planned], PART_SIZE)
    lines = [
        PlanLine(
            "ok",
            f"{size(moved[TransferMethod.STREAMED])} come from the source; {size(moved[TransferMethod.COPIED])} are "
            f"copied within the bucket, {size(moved[TransferMethod.KEPT])} are there.",
        ),
        PlanLine("ok", f"About {_minutes(minutes)} at {rate(expected.bytes_per_s)} ({expected.source})."),
        PlanLine("ok", f"About {requests.total():,} requests to S3: {money(usd(requests))} ({PRICED_BY})."),
        _storage(snapshot.size_bytes, profile),
    ]
    if not there:
        absent = f"The bucket {profile.bucket} does not exist. Staging creates it, unless GENAI_BUCKET is wrong."
        lines.append(PlanLine("hint", absent))
    if profile.name != "local":
        lines.append(PlanLine("hint", "A plan writes nothing, so it does not try the bucket: `genai doctor` does."))
    figures = {
        "bytes_to_stream": moved[TransferMethod.STREAMED],
        "bytes_to_copy": moved[TransferMethod.COPIED],
        "bytes_there": moved[TransferMethod.KEPT],
        "minutes": round(minutes, 2),
        "requests_usd": round(usd(requests), 4),
    }
    return PlanSection(TITLE, lines, figures)


def _storage(size_bytes: int, profile: Profile) -> PlanLine:
    if profile.s3_endpoint or profile.name == "local":
        return PlanLine("ok", f"It keeps {size(size_bytes)} in {profile.bucket}; the price of this store is not known.")
    cost = money(storage_usd_per_month(size_bytes))
    return PlanLine("ok", f"It keeps {size(size_bytes)} in {profile.bucket}: {cost} a month ({STORAGE_PRICED_BY}).")


def _records(model: str, store: ObjectStore) -> list[Record]:
    """Return records of stagings, oldest first: of this model, or else of some others."""
    records = Records(store)
    own = [r for r in records.readable(model)[0] if r.facts.staging]
    if own:
        return own
    others = records.models()[:MOST_MODELS]
    found = [record for other in others for record in records.readable(other)[0][-1:]]
    return sorted(found, key=lambda r: r.history[0].at if r.history else "")


def _minutes(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes >= 1.5 else f"{max(1, round(minutes * 60))} s"
