"""A release: one revision of a model with one serving configuration and one purpose. Immutable."""

from __future__ import annotations

from dataclasses import dataclass

from genai_pipeline.core.engine_args import workers_per_replica
from genai_pipeline.core.model_spec import EngineName, ModelSpec
from genai_pipeline.core.task import Task


@dataclass(frozen=True)
class Release:
    """One release of a model.

    Args:
        model: name of the model.
        revision: commit of the repository, 40 hex digits.
        config_hash: `ModelSpec.config_hash`, 64 hex digits.
        has_agent: whether an agent is served with it.
        task: what its endpoint is asked.
        engine: what serves it. It is part of `config_hash`.
        mounts_weights: whether its pods read the weights from a volume of its own.
        scales: whether an autoscaler beside the engine chooses the number of its replicas; Ray has its own.
        sleeps: whether its engine may sleep while it is a standby.
        shared_workers: the most pods that it may have, where several hold one replica together; 0 elsewhere.
    """

    model: str
    revision: str
    config_hash: str
    has_agent: bool
    task: Task
    engine: EngineName = "vllm"
    mounts_weights: bool = False
    scales: bool = False
    shared_workers: int = 0
    sleeps: bool = False

    @classmethod
    def of(cls, spec: ModelSpec, revision: str) -> Release:
        serving = spec.serving
        mounts = serving.weights == "mount"
        each = workers_per_replica(serving)
        shared = serving.replicas.max * each if each > 1 else 0
        scales = serving.engine == "vllm" and serving.scales
        what = (spec.name, revision, spec.config_hash, spec.has_agent, spec.task, serving.engine)
        return cls(*what, mounts, scales, shared, serving.standby == "sleep")

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

    @property
    def standby_name(self) -> str:
        """Return the name of the Service that reaches its engine while it sleeps, and so is not ready."""
        return f"{self.object_name}-standby"

    def volume_name(self, namespace: str) -> str:
        """Return the name of the PersistentVolume with its weights. Such volumes are outside namespaces."""
        return f"{namespace}-{self.object_name}"

    @property
    def object_names(self) -> tuple[str, ...]:
        """Return the names of the objects that serve it, what others ask first."""
        return (self.object_name, self.agent_object_name) if self.has_agent else (self.object_name,)
