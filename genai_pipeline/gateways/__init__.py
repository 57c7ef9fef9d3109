"""The outside world: one package per thing we talk to, an `abc.py` and the real ones beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

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
class StoreKeys:
    """AWS keys of the store."""

    key_id: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Gateways:
    """Every gateway to the outside world. `inference` and `agent` open one endpoint by its base address.

    Args:
        aws: None where there is no EC2 to ask.
        webhook: None where no webhook is set.
        store_keys: what pods without an identity of their own read the store with, or None if the pipeline has no keys.
    """

    hub: Hub
    store: ObjectStore
    cluster: Cluster
    inference: Callable[[str], Inference]
    agent: Callable[[str], AgentEndpoint]
    metrics: Metrics
    aws: Aws | None = None
    webhook: Webhook | None = None
    store_keys: StoreKeys | None = None

    def source(self, source: Source) -> Hub:
        """Return what a model's files come from."""
        return source_gateway(source, self.hub, self.store)


def source_gateway(source: Source, hub: Hub, store: ObjectStore) -> Hub:
    """Return the same gateway for the same source: it remembers digests, and reads new files in the background."""
    return _kept_source(cast("Any", source), hub, store)


@lru_cache(maxsize=1024)
def _kept_source(source: Any, hub: Hub, store: ObjectStore) -> Hub:
    from genai_pipeline.gateways.hub.sources import source_of

    return source_of(source, hub, store)
