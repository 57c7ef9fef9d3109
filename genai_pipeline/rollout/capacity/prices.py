"""Computes what a further replica costs per hour, from the instance's price or from the model file. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from genai_pipeline.core.engine_args import workers_per_replica
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.rollout.pools.instance_types import InstanceTypes
from genai_pipeline.rollout.pools.pool_room import PoolRoom


@dataclass(frozen=True)
class Price:
    """The price of one replica.

    Args:
        usd_per_hour: None where it is not known.
        said: a sentence for people, or an empty text where no nodes are bought.
        source: where the price was read, and its date.
    """

    usd_per_hour: float | None
    said: str
    source: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [{"what": "a second replica", "usd_per_hour": self.usd_per_hour, "source": self.source}]


def replica_price(spec: ModelSpec, room: PoolRoom | None, known: InstanceTypes) -> Price:
    """Return the price of one more replica.

    Args:
        room: of the pool that would host it, or None where no pool is asked for nodes.
        known: the instance types of the region, with their prices.
    """
    whole = spec.gates.serving.usd_per_hour
    if whole:
        return _price(whole / spec.serving.replicas.min, "gates.serving.usd_per_hour of the model file")
    if room is None:
        return Price(None, "", "no nodes are bought here")
    if room.new_node is None:
        return _unknown("no instance type of known size fits")
    node = room.new_node
    if node.usd_per_hour is None:
        return _unknown(f"no price of a {node.name} in {known.region}: {known.source}, {known.date}")
    listed = f"on-demand price of {known.date} for a {node.name} in {known.region}, from {known.source}"
    pods = workers_per_replica(spec.serving)
    several = f", {pods} pods a replica" if pods > 1 else ""
    shared = f", shared by {room.per_node} {'pods' if pods > 1 else 'replicas'}" if room.per_node > 1 else ""
    return _price(node.usd_per_hour * pods / room.per_node, listed + shared + several)


def new_nodes_for(replicas: int, room: PoolRoom) -> int:
    """Return how many nodes have to be started for so many replicas once the running nodes are full."""
    return math.ceil(max(0, replicas - room.on_nodes) / room.per_node)


def _price(usd: float, source: str) -> Price:
    return Price(round(usd, 4), f"A second replica costs {usd:.2f} USD per hour ({source}).", source)


def _unknown(source: str) -> Price:
    return Price(None, "The price of a second replica is unknown: set gates.serving.usd_per_hour.", source)
