"""Tells the pods of a release which archive of compiled code to start from: what its record says, in a ConfigMap.

A start without an archive is slower, and nothing else. So no error here ends a rollout, a restart or a rollback.
"""

from __future__ import annotations

from genai_pipeline.core.errors import GenaiError
from genai_pipeline.core.facts import CompileCache
from genai_pipeline.core.profile import Profile
from genai_pipeline.core.progress import Log
from genai_pipeline.core.release import Release
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.k8s.cache_pin import render_cache_pin
from genai_pipeline.k8s.engine_cache import cache_name
from genai_pipeline.rollout.record.records import Records
from genai_pipeline.rollout.switch.engine_access import ensure_token

_PERMISSIONS = "An administrator applies `genai render --rbac` again after an upgrade."


class CachePins:
    """Handle the ConfigMaps. Every method may be repeated."""

    def __init__(self, cluster: Cluster, records: Records, profile: Profile) -> None:
        self._cluster, self._records, self._profile = cluster, records, profile

    def apply(self, release: Release, log: Log = lambda _: None) -> None:
        """Bring the ConfigMap to what the record says, before pods start. Make the token that they get."""
        try:
            ensure_token(self._cluster, self._profile)
            record = self._records.get(release.model, release.id)
            if record is None:
                return
            pin = record.facts.compile_cache or CompileCache()
            if objects := render_cache_pin(release, self._profile, pin):
                self._cluster.apply(objects)
            else:
                self._cluster.delete("ConfigMap", cache_name(release), None)
        except GenaiError as error:
            log(f"pods of {release.id} start without compiled code: {error.what} {_PERMISSIONS}")

    def remove(self, release: Release) -> None:
        """Delete the ConfigMap. One that stays does no harm."""
        try:
            self._cluster.delete("ConfigMap", cache_name(release), None)
        except GenaiError:
            return
