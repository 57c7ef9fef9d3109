"""Judges whether the live release may sleep while it makes room, or has to stop. Pure.

A sleeping pod frees the memory of its GPU, and nothing of what it requested: Kubernetes gives its GPU to no other pod.
So the candidate must fit beside it by requests. It does on shared GPUs (docs/gpu.md), and on one machine, whose cluster
counts GPUs and gives them to no pod.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.rollout.capacity.room import GPUS_OF_ONE_MACHINE, Room
from genai_pipeline.rollout.capacity.standing import Standing


@dataclass(frozen=True)
class Sleeper:
    """Whether the live release sleeps, and what to say about it."""

    fits: bool = False
    said: str = ""


def judge_sleeper(standing: Standing, rooms: Sequence[Room]) -> Sleeper:
    """Return whether the live release may sleep where the strategy is recreate.

    Args:
        rooms: what the candidate needs, and what is free while the live release keeps its pods.
    """
    if not standing.live_sleeps:
        return Sleeper()
    short = [r for r in rooms if not r.fits and r.resource != GPUS_OF_ONE_MACHINE]
    if not short or standing.candidate_is_up:
        return Sleeper(True, f". {standing.live} sleeps meanwhile, and wakes in seconds if the candidate fails")
    missing = "; ".join(f"{r.resource}: {r.needed:g} needed, {r.free:g} free" for r in short)
    return Sleeper(
        said=f". {standing.live} stops and does not sleep, because a sleeping pod keeps what it requested ({missing}). "
        "Share its GPU (docs/gpu.md), or give the node more room"
    )
