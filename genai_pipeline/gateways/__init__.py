"""The outside world: one package per thing we talk to, an `abc.py` and the real ones beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from genai_pipeline.core.source_spec import Source
from genai_pipeline.gateways.agent.abc import AgentEndpoint
from genai_pipeline.gateways.aws.abc import Aws
from genai_pipeline.gateways.cluster.abc import Cluster
from genai_pipeline.gateways.hub.abc import Hub
from genai_pipeline.gateways.inference.abc import Inference
from genai_pipeline.gateways.metrics.abc import Metrics
from genai_pipeline.gateways.store.abc import ObjectStore
from genai_pipeline.gateways.webhook.abc import Webhook


@dataclass(frozen=True)
class Gateways:
    """Every door to the outside world. `inference` and `agent` open one endpoint by its base address.

    `aws` is None where there is no EC2 to ask, `webhook` where nobody wants to be told.
    """

    hub: Hub
    store: ObjectStore
    cluster: Cluster
    inference: Callable[[str], Inference]
    agent: Callable[[str], AgentEndpoint]
    metrics: Metrics
    aws: Aws | None = None
    webhook: Webhook | None = None
    _sources: dict[Source, Hub] = field(default_factory=dict[Source, Hub], compare=False, repr=False)

    def source(self, source: Source) -> Hub:
        """What a model's files come from, always the same gateway for the same source."""
        from genai_pipeline.gateways.hub.sources import source_of

        return self._sources.setdefault(source, source_of(source, self.hub, self.store))
