"""What the assets of a release do about compiled code: pin an archive, say how the start went, keep a new one.

A release without an archive starts later, and nothing else is different. So what fails here is logged, shown and
written into the record, and no release fails because of it.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from genai_pipeline.assets.release_asset import ReleaseContext
from genai_pipeline.core.clock import utc_now
from genai_pipeline.core.compile_cache import STALE, CacheManifest, Reason
from genai_pipeline.core.errors import GenaiError, Superseded
from genai_pipeline.core.facts import CompileCache, Facts
from genai_pipeline.core.faults import crash_point
from genai_pipeline.core.verdict import Verdict
from genai_pipeline.k8s.cache_pin import cache_place
from genai_pipeline.k8s.engine import compiled_args, engine_env
from genai_pipeline.k8s.engine_cache import keeps_cache
from genai_pipeline.k8s.templating import release_labels
from genai_pipeline.resources.engines import Engines

if TYPE_CHECKING:
    from genai_pipeline.staging.compile_caches import FoundCache, Sink

PULL_S = 300.0
"""Seconds for an archive, packing included. Its engine has no traffic yet."""


class CompileCaching:
    """The compiled code of one release, seen from its run. Every method may be repeated."""

    def __init__(self, context: ReleaseContext, engines: Engines) -> None:
        self._context, self._engines = context, engines
        self._serving, self._release = context.spec.serving, context.release
        self._keeps = keeps_cache(self._serving, engines.profile)

    def pin(self) -> None:
        """Write into the record which archive the engine is to start from, before it starts."""
        if not self._keeps:
            self._note(CompileCache(reason=str(Reason.OFF), why="this engine compiles nothing"))
            return
        try:
            found = self._find()
        except (GenaiError, OSError) as error:
            self._missed(f"no archive was looked for: {error}")
            return
        if found.manifest is None:
            self._missed(found.why)
            return
        self._note(_pin_of(found.manifest))
        crash_point("cache.pinned")
        size = f"{found.manifest.size / 1e6:.0f} MB"
        self._context.log(f"compiled code is kept ({size}, by {found.manifest.release}): pods start from it")

    def started(self, url: str) -> dict[str, str]:
        """Ask a pod how the restore went, and write it down. Returns: Metadata."""
        pin = self._pinned()
        if not self._keeps:
            return {"compile_cache": pin.why}
        try:
            said = self._engines.gateways.inference(url).restored(self._token())
        except Superseded:
            raise
        except GenaiError as error:
            why = f"not known: {error.what}"
        else:
            if said:
                figures = {"hit": said.hit, "reason": str(said.reason), "why": said.why, "seconds": said.seconds}
                self._note(pin.model_copy(update=figures))
                text = f"restored {said.bytes / 1e6:.0f} MB in {said.seconds:.1f} s" if said.hit else said.why
                return {"compile_cache": f"{'hit' if said.hit else 'miss'}: {text}"}
            why = "not known: the engine does not say how it started"
        self._note(pin.model_copy(update={"hit": None, "reason": str(Reason.FAILED), "why": why}))
        return {"compile_cache": why}

    def keep(self, verdicts: Sequence[Verdict]) -> dict[str, str]:
        """Keep what the engine compiled, unless the next start finds it already. Returns: Metadata.

        Args:
            verdicts: of its load test. What did not pass is not kept: the next engine would start from it.
        """
        pin = self._pinned()
        passed = all(verdict.passed for verdict in verdicts if verdict.check in self._context.checks)
        if not self._keeps or pin.hit or not passed:
            return {}
        try:
            kept = self._keep(self._engines.candidates().engine_url(self._release), pin)
        except Superseded:
            raise
        except (GenaiError, OSError) as error:
            kept = f"not kept: {error}"
            self._context.log(f"the compiled code of {self._release.id} is {kept}")
        self._note(self._pinned().model_copy(update={"kept": kept}))
        return {"compile_cache_kept": kept}

    def _keep(self, url: str, pin: CompileCache) -> str:
        from genai_pipeline.staging.compile_caches import keep

        found, nothing = self._find(), ""
        if found.manifest and Reason(pin.reason or Reason.NONE) not in STALE:
            self._pin_again(found.manifest)
            return f"{found.manifest.release} kept it before"
        inference, token = self._engines.gateways.inference(url), self._token()

        def pull(sink: Sink) -> Mapping[str, str] | None:
            nonlocal nothing
            pulled = inference.pull_compile_cache(token, sink, PULL_S)
            nothing = pulled.nothing
            return None if nothing else pulled.made_with

        manifest = keep(self._engines.gateways.store, self._draft(), pull, found)
        if manifest is None:
            return f"nothing to keep: {nothing}"
        self._pin_again(manifest)
        return f"{manifest.size / 1e6:.0f} MB in {manifest.files} files, for the next start"

    def _pin_again(self, manifest: CacheManifest) -> None:
        """Let replicas that come later start from the archive."""
        pin, fresh = self._pinned(), _pin_of(manifest)
        about = {name: getattr(fresh, name) for name in fresh.model_fields_set}
        self._note(pin.model_copy(update=about))
        crash_point("cache.pinned_again")
        self._engines.cache_pins().apply(self._release, self._context.log)

    def _draft(self) -> CacheManifest:
        place = cache_place(self._serving, self._release, self._engines.profile)
        profile = self._engines.profile
        image_id, gpu = self._of_pod()
        return CacheManifest(
            place.model,
            place.revision,
            place.key,
            self._release.id,
            image_id=image_id,
            gpu=gpu,
            args=tuple(compiled_args(self._serving, self._release, profile)),
            env_names=tuple(sorted(engine_env(self._serving, profile))),
            written_at=utc_now(),
            tool=f"genai-pipeline {version('genai-pipeline')}, {getpass.getuser()}",
        )

    def _of_pod(self) -> tuple[str, str]:
        """Return the image's digest and the node's GPU, as far as the cluster says them."""
        cluster = self._engines.gateways.cluster
        pods = cluster.list("Pod", release_labels(self._release, "engine"))
        statuses = [s for pod in pods for s in (pod.get("status") or {}).get("containerStatuses") or []]
        image = next((s.get("imageID", "") for s in statuses if s.get("name") == "engine"), "")
        names = {(pod.get("spec") or {}).get("nodeName") for pod in pods}
        nodes = cluster.list("Node") if self._serving.gpu else []
        labels = [n["metadata"].get("labels") or {} for n in nodes if n["metadata"]["name"] in names]
        return image, next(
            (found["nvidia.com/gpu.product"] for found in labels if "nvidia.com/gpu.product" in found), ""
        )

    def _find(self) -> FoundCache:
        from genai_pipeline.staging.compile_caches import find

        place = cache_place(self._serving, self._release, self._engines.profile)
        return find(self._engines.gateways.store, place)

    def _token(self) -> str:
        from genai_pipeline.rollout.switch.engine_access import engine_token

        return engine_token(self._engines.gateways.cluster)

    def _missed(self, why: str) -> None:
        self._note(CompileCache(reason=str(Reason.NONE), why=why))
        self._context.log(f"no compiled code is kept for this engine: {why}")

    def _pinned(self) -> CompileCache:
        record = self._engines.records().require(self._release.model, self._release.id)
        return record.facts.compile_cache or CompileCache()

    def _note(self, section: CompileCache) -> None:
        self._engines.records().update(
            self._release.model, self._release.id, lambda r: r.with_facts(Facts(compile_cache=section))
        )


def _pin_of(manifest: CacheManifest) -> CompileCache:
    return CompileCache(
        key=manifest.key, sha256=manifest.sha256, size=manifest.size, made_with=dict(manifest.made_with)
    )
