"""A release: one revision of a model with one serving configuration. Immutable."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.model_spec import ModelSpec


@dataclass(frozen=True)
class Release:
    """`id` is the Dagster partition key: the revision's first 12 and the config hash's first 6 hex digits."""

    model: str
    revision: str
    config_hash: str

    @classmethod
    def of(cls, spec: ModelSpec, revision: str) -> Release:
        return cls(spec.name, revision, spec.serving.config_hash)

    @property
    def id(self) -> str:
        return f"{self.revision[:12]}-{self.config_hash[:6]}"

    @property
    def object_name(self) -> str:
        """Name of this release's engine objects in the cluster; within 63 characters by ModelSpec.name."""
        return f"{self.model}-{self.id}"

    @property
    def agent_object_name(self) -> str:
        return f"{self.model}-agent-{self.id}"
