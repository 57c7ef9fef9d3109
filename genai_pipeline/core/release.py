"""A release: one revision of a model with one serving configuration. Immutable."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.model_spec import ModelSpec


@dataclass(frozen=True)
class Release:
    """One release of a model.

    Args:
        model: name of the model.
        revision: commit of the repository, 40 hex digits.
        config_hash: sha256 of the section `serving`, 64 hex digits.
    """

    model: str
    revision: str
    config_hash: str

    @classmethod
    def of(cls, spec: ModelSpec, revision: str) -> Release:
        return cls(spec.name, revision, spec.serving.config_hash)

    @property
    def id(self) -> str:
        """Return the Dagster partition key: 12 hex digits of the revision, `-`, 6 of the config hash."""
        return f"{self.revision[:12]}-{self.config_hash[:6]}"

    @property
    def object_name(self) -> str:
        """Return the name of the engine's objects. ModelSpec.name keeps it within 63 characters."""
        return f"{self.model}-{self.id}"

    @property
    def agent_object_name(self) -> str:
        return f"{self.model}-agent-{self.id}"
