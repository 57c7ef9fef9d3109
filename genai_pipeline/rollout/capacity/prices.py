"""What a further replica costs per hour, from a list of prices or from the model file. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.rollout.pools.instance_types import PRICES_IN, PRICES_OF
from genai_pipeline.rollout.pools.pool_room import PoolRoom


@dataclass(frozen=True)
class Price:
    """Of one replica, in USD per hour; None where nothing is known of it. `said` is a sentence for a person."""

    usd_per_hour: float | None
    said: str
    source: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [{"what": "a second replica", "usd_per_hour": self.usd_per_hour, "source": self.source}]


def replica_price(spec: ModelSpec, room: PoolRoom | None, region: str) -> Price:
    """Price of one more replica.

    Args:
        room: of the pool that would host it; None where no pool is asked for nodes.
    """
    whole = spec.gates.serving.usd_per_hour
    if whole:
        return _price(whole / spec.serving.replicas.min, "gates.serving.usd_per_hour of the model file")
    if room is None:
        return Price(None, "", "no nodes are bought here")
    if room.new_node is None:
        return Price(None, "Its price is not known: set gates.serving.usd_per_hour.", "not in the list of prices")
    listed = f"list price of {PRICES_OF} for a {room.new_node.name} on demand in {' and '.join(PRICES_IN)}"
    if region not in PRICES_IN:
        listed += f"; {region} has prices of its own"
    shared = f", shared by {room.per_node}" if room.per_node > 1 else ""
    return _price(room.new_node.usd_per_hour / room.per_node, listed + shared)


def new_nodes_for(replicas: int, room: PoolRoom) -> int:
    """Nodes that have to be started for so many replicas, once the running ones are full."""
    return math.ceil(max(0, replicas - room.on_nodes) / room.per_node)


def _price(usd: float, source: str) -> Price:
    return Price(round(usd, 4), f"A second replica costs {usd:.2f} USD per hour ({source}).", source)
