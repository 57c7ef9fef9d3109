"""`genai publish v2`: what the owner of the demo model does, so that the version sensor finds something new."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.core.errors import NotFound, Refused
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.local.hub import hub_refs
from genai_pipeline.local.installation import PROJECT

HUB_FOLDER = PROJECT / "demo" / "hub"


def publish(profile: Profile, specs: Sequence[ModelSpec], revision: str) -> list[str]:
    """Let the ref that a model follows stand for `revision`; says what will happen. Idempotent.

    Raises: RevisionNotFound: with the known ones; NotFound: no model, or more than one, comes from the embedded hub.
    """
    spec = _from_embedded_hub(specs)
    repository, ref, state = spec.source.address, spec.source.ref, profile.home / "hub"
    before = hub_refs.repository(HUB_FOLDER, state, repository)
    sha = before.revision(revision).sha
    release = Release.of(spec, sha).id
    if before.branches.get(ref) == revision:
        return [f"{repository}@{ref} is {revision} ({sha[:12]}) already: release {release}. Nothing changes."]
    hub_refs.publish(HUB_FOLDER, state, repository, revision, ref)
    return [
        f"Published {repository}@{ref} = {revision} ({sha}).",
        f"While Dagster runs, release {release} of {spec.name} starts to roll out within seconds, "
        "unless it was rejected or rolled back before. "
        "`genai up` shows the rollout; traffic moves only when every check has passed.",
    ]


def _from_embedded_hub(specs: Sequence[ModelSpec]) -> ModelSpec:
    known = hub_refs.repositories(HUB_FOLDER)
    own = [spec for spec in specs if spec.source.hub in known]
    if not own:
        raise NotFound("None of these models comes from the embedded hub.", f"It has: {', '.join(known) or 'nothing'}.")
    if len(own) > 1:
        raise Refused("More than one model comes from the embedded hub.", "Choose one with --model.")
    return own[0]
