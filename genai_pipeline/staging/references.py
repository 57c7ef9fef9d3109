"""Finds what refers to staged revisions: records, live pointers and model files. Unreadable ones are named."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from genai_pipeline.core.errors import GenaiError, NotFound, Unavailable, Unreadable
from genai_pipeline.core.model_file import ModelFiles
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import Live, Record, live_key, read
from genai_pipeline.core.source_spec import Source
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.staging.named_revisions import NamedRevisions, ended_at
from genai_pipeline.staging.prune_decision import Reference, References

_RELEASE = re.compile(r"^([0-9a-f]{12})-[0-9a-f]{6}$")

Sources = Callable[[Source], Hub]
RunsUnderWay = Callable[[], Sequence[Reference]]
"""Returns the runs that are queued or under way. Raises GenaiError if that is unknown."""


def references_to(
    models: Iterable[str],
    store: ObjectStore,
    sources: Sources,
    files: ModelFiles,
    runs: RunsUnderWay,
    named: Collection[str] = (),
    named_in_args: NamedRevisions | None = None,
) -> References:
    """Return everything that refers to revisions of these models.

    Args:
        named_in_args: what releases of all models name. Kept by a caller that asks again; None looks once.
        named: models that may be pruned without a model file. Other such models may belong to another installation,
            whose runs and model files are unknown here.
    Raises: the errors of `runs`. StoreUnavailable.
    """
    found, unclear = list(runs()), dict[str, str]()
    found += (named_in_args or NamedRevisions(store, files.specs)).references()
    for model in models:
        try:
            found += _records_of(model, store)
            found += _model_file(model, sources, files, named)
        except _Unclear as reason:
            unclear[model] = str(reason)
    return References(found, unclear)


class _Unclear(Exception):
    """Some references to a model's revisions are unknown."""


def _records_of(model: str, store: ObjectStore) -> Iterator[Reference]:
    for listed in store.list(f"releases/{model}/"):
        try:
            body = store.get(listed.key)[0]
        except NotFound:  # deleted since it was listed
            continue
        yield from _live(model, listed, body) if listed.key == live_key(model) else _record(model, listed, body)


def _live(model: str, listed: StoredObject, body: bytes) -> Iterator[Reference]:
    try:
        live = read(Live, listed.key, body)
    except Unreadable as error:
        raise _Unclear(f"the live pointer {error.what}") from error
    yield Reference(model, live.revision, f"{live.release} is live")
    if live.last_good:
        yield Reference(model, _revision12(live.last_good), f"{live.last_good} is the last good release")


def _record(model: str, listed: StoredObject, body: bytes) -> Iterator[Reference]:
    release = listed.key.rpartition("/")[2].removesuffix(".json")
    try:
        record = read(Record, listed.key, body)
    except Unreadable as error:
        why = f"the record {error.what}"
        if not _RELEASE.match(release):
            raise _Unclear(why) from error
        yield Reference(model, _revision12(release), why, unclear=True)
        return
    since = ended_at(record, listed)
    what = f"{record.release} is {record.phase}" if since is None else f"{record.release} was {record.phase}"
    yield Reference(model, record.revision, what, since)


def _model_file(model: str, sources: Sources, files: ModelFiles, named: Collection[str]) -> Iterator[Reference]:
    spec = next((spec for spec in files.specs if spec.name == model), None)
    if spec:
        yield _asked_for(spec, sources(spec.source))
    elif files.errors:
        raise _Unclear(f"{files.errors[0].path} is wrong, and may be about it")
    elif model not in named:
        yield Reference(model, "", f"no model file here is about it; `genai prune {model}` takes it all the same")


def _asked_for(spec: ModelSpec, hub: Hub) -> Reference:
    what = spec.source.title
    try:
        revision = hub.resolve(spec.source.address, spec.source.ref)
    except Unavailable as error:
        raise _Unclear(f"what {what} stands for is not known: the hub did not answer") from error
    except GenaiError as error:
        raise _Unclear(f"what {what} stands for is not known: {error}") from error
    return Reference(spec.name, revision, f"the model file asks for it as {what}")


def _revision12(release: str) -> str:
    return release.partition("-")[0]
