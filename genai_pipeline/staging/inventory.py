"""Lists what is staged: every revision below models/, complete or not, with what engines compiled for it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from genai_pipeline.core.compile_cache import CACHES, caches_prefix
from genai_pipeline.core.errors import NotFound, StagingError
from genai_pipeline.core.manifest import MANIFEST_NAME, Manifest, staged_prefix
from genai_pipeline.gateways.store.abc import ObjectStore, StoredObject
from genai_pipeline.staging.commit import committed, read_manifest
from genai_pipeline.staging.prune_decision import StagedRevision

_REVISION = re.compile(r"^([0-9a-f]{40}|[0-9a-f]{64})$")


def staged_revisions(store: ObjectStore, model: str = "", revision: str = "") -> list[StagedRevision]:
    """Return every revision that has objects or compile caches, of all models or of one."""
    prefixes = ["models/" + (f"{model}/" if model else "")]
    if model and revision:
        prefixes = objects_of(model, revision)
    groups: dict[tuple[str, str], list[StoredObject]] = defaultdict(list)
    for found in (found for prefix in prefixes for found in store.list(prefix)):
        groups[_owner(found.key)].append(found)
    return [_revision(store, *names, objects) for names, objects in sorted(groups.items())]


def objects_of(model: str, revision: str) -> list[str]:
    """Return the prefixes of all objects of a revision: its files, and what engines compiled for it."""
    return [staged_prefix(model, revision), caches_prefix(model, revision)]


def _owner(key: str) -> tuple[str, str]:
    """Return model and revision of a key; an empty revision where it is below none."""
    model, *rest = key.removeprefix("models/").split("/")
    folders = rest[:-1]
    return model, "/".join(folders[:2] if folders[:1] == [CACHES] else folders[:1]).removeprefix(f"{CACHES}/")


def _revision(store: ObjectStore, model: str, revision: str, objects: Sequence[StoredObject]) -> StagedRevision:
    manifest = any(o.key == staged_prefix(model, revision) + MANIFEST_NAME for o in objects)
    files = [o for o in objects if not o.key.startswith(caches_prefix(model, revision))]
    return StagedRevision(
        model,
        revision,
        len(objects),
        sum(o.size for o in objects),
        max(o.modified_at for o in files or objects),
        manifest,
        _why_unclear(store, model, revision, files, manifest) if files else _why_no_revision(revision, objects),
        sum(o.size for o in objects) - sum(o.size for o in files),
    )


def _why_no_revision(revision: str, objects: Sequence[StoredObject]) -> str:
    return "" if _REVISION.match(revision) else f"{objects[0].key} is not below a revision"


def _why_unclear(store: ObjectStore, model: str, revision: str, objects: Sequence[StoredObject], complete: bool) -> str:
    if not complete or not _REVISION.match(revision):
        return _why_no_revision(revision, objects)
    prefix = staged_prefix(model, revision)
    try:
        manifest = read_manifest(store, prefix + MANIFEST_NAME)
    except StagingError:
        return "its manifest cannot be read"
    if manifest is None:  # deleted since the listing, by another prune
        return ""
    if (manifest.model, manifest.revision) != (model, revision):
        return f"its manifest is that of {manifest.model}/{manifest.revision}"
    named = {prefix + f.path for f in manifest.files} | {prefix + MANIFEST_NAME}
    extra = sorted(o.key for o in objects if o.key not in named)
    return f"it holds {extra[0]}, which its manifest does not name" if extra else ""


def models_staged(store: ObjectStore) -> set[str]:
    """Return the names of the models that have objects below models/."""
    return {found.key.split("/")[1] for found in store.list("models/") if found.key.count("/") > 1}


def chosen_manifest(store: ObjectStore, model: str, which: str) -> Manifest:
    """Return the manifest that a release id, a revision or its first digits stand for.

    Raises: NotFound: no staged revision matches, or several do. StagingError: the manifest cannot be read.
    """
    staged = [s.revision for s in staged_revisions(store, model) if s.complete]
    begin = which.partition("-")[0]
    found = [revision for revision in staged if begin and revision.startswith(begin)]
    manifest = committed(store, model, found[0]) if len(found) == 1 else None
    if manifest:
        return manifest
    if len(found) > 1:
        raise NotFound(f"{model}@{which} may be {' or '.join(found)}.", "Give more digits.")
    known = ", ".join(revision[:12] for revision in staged) or "nothing"
    what = f"{model}@{which} is not staged" if which else f"No release of {model} is live, so name one"
    raise NotFound(f"{what}.", f"Staged of {model}: {known}. `genai stage {model}` stages what its source holds now.")
