"""Expects how long a staging takes, from what earlier stagings measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.core.record import Record

ASSUMED_BYTES_PER_S = 100 * 1024**2
"""Two cores stage 131 to 139 MiB/s from a server beside them (docs/staging.md); a hub is farther away."""

LOOKED_AT = 5


@dataclass(frozen=True)
class StagingRate:
    """Bytes per second, and where the figure comes from."""

    bytes_per_s: float
    source: str


def staging_rate(model: str, records: Sequence[Record]) -> StagingRate:
    """Return the mean rate of the newest stagings: of this model, else of all models, else an assumption.

    Args:
        records: of any models, oldest first.
    """
    measured = [r for r in records if r.facts.staging and r.facts.staging.seconds > 0 and r.facts.staging.bytes]
    own = [r for r in measured if r.model == model]
    newest = (own or measured)[-LOOKED_AT:]
    if not newest:
        return StagingRate(ASSUMED_BYTES_PER_S, "assumed, because no staging is on record")
    figures = [r.facts.staging for r in newest if r.facts.staging]
    rate = sum(f.bytes for f in figures) / sum(f.seconds for f in figures)
    stagings = f"the newest {len(newest)} stagings" if len(newest) > 1 else "the newest staging"
    return StagingRate(rate, f"measured by {stagings} of {model if own else 'other models'}")
