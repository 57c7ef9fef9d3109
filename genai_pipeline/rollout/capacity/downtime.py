"""Estimates how long users are not served while the live release makes room, and whether it may. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.core.errors import ReleaseRefused
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.core.record import ENDED_BADLY, Record
from genai_pipeline.rollout.capacity.standing import Standing

WITHOUT_LIVE = ("candidate", "serving_report", "agent_candidate", "agent_report", "live")
"""With the strategy recreate users are not served from the first of these assets to the last."""
LOOKED_AT = 5


@dataclass(frozen=True)
class Downtime:
    """The expected minutes without service, and where the figure comes from."""

    minutes: float
    source: str


def expected_downtime(spec: ModelSpec, earlier: Sequence[Record]) -> Downtime:
    """Return the longest time of the newest releases that went live; without any, what the model file allows.

    Args:
        earlier: records of the model, oldest first.
    """
    proven = [r for r in earlier if r.phase not in ENDED_BADLY and all(a in r.timings for a in _timed(r))]
    if not proven:
        seconds = spec.rollout.drain_deadline_s + spec.serving.startup_deadline_s
        source = (
            "the model file's drain and startup deadlines, since no earlier release was timed; its tests come on top"
        )
        return Downtime(round(seconds / 60, 1), source)
    slowest = max(proven[-LOOKED_AT:], key=_seconds)
    return Downtime(round(_seconds(slowest) / 60, 1), f"release {slowest.release}, the slowest of the newest")


def refuse_unless_allowed(spec: ModelSpec, standing: Standing) -> None:
    """Check once more before the live release is stopped. The plan may be older than the model file.

    Raises: ReleaseRefused: not where an earlier attempt has stopped the live release already.
    """
    if standing.live and not standing.made_room and not spec.rollout.allow_downtime:
        raise ReleaseRefused(
            f"The plan of {spec.name} is to stop {standing.live} first, and rollout.allow_downtime is false.",
            "Materialize capacity again, or set rollout.allow_downtime: true.",
        )


def _timed(record: Record) -> list[str]:
    """Return those of the assets that the release went through."""
    proof = {name.partition(".")[0] for name in record.required}
    return [asset for asset in WITHOUT_LIVE if asset in proof or asset == "live"]


def _seconds(record: Record) -> float:
    return sum(record.timings[asset] for asset in _timed(record))
