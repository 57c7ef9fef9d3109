"""What tells the pods of a release which archive of compiled code to start from. Pure."""

from __future__ import annotations

import json

from genai_pipeline.core.compile_cache import CachePlace, cache_key
from genai_pipeline.core.facts import CompileCache
from genai_pipeline.core.model_spec import Serving
from genai_pipeline.core.processor import local_isa
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.release import Release
from genai_pipeline.k8s.engine import compiled_args, engine_env, image_of
from genai_pipeline.k8s.engine_cache import MADE_WITH_KEY, SHA256_KEY, URL_KEY, cache_name
from genai_pipeline.k8s.gpu_defaults import gpu_of
from genai_pipeline.k8s.templating import MANAGED_BY, Objects, release_labels


def cache_place(serving: Serving, release: Release, profile: Profile) -> CachePlace:
    """Return where the archive of such an engine is kept. Raises: Refused: a credential in serving.env."""
    key = cache_key(
        image=image_of(serving, profile),
        args=tuple(compiled_args(serving, release, profile)),
        env=engine_env(serving, profile),
        revision=release.revision,
        weights=serving.weights,
        gpu=gpu_of(serving, profile),
        isa=local_isa() if profile.name == "local" else "",
    )
    return CachePlace(release.model, release.revision, key)


def render_cache_pin(release: Release, profile: Profile, pin: CompileCache) -> Objects:
    """Return the ConfigMap that the init container `restore` reads; nothing where no archive is pinned.

    It is no part of `render_engine`: another archive changes no pod, so it is neither drift nor a reason to redeploy.
    """
    if not pin.sha256:
        return []
    archive = CachePlace(release.model, release.revision, pin.key).archive_key(pin.sha256)
    made_with = json.dumps(dict(pin.made_with), sort_keys=True)
    data = {URL_KEY: f"s3://{profile.bucket}/{archive}", SHA256_KEY: pin.sha256, MADE_WITH_KEY: made_with}
    labels = release_labels(release, "engine") | MANAGED_BY
    meta = {"name": cache_name(release), "namespace": profile.namespace, "labels": labels}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}]
