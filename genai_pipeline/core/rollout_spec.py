"""The sections `rollout` and `refresh` of a model file: how a release replaces the live one, and what follows."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from genai_pipeline.core.cron import Cron, TimeZone
from genai_pipeline.core.spec_section import Section
from genai_pipeline.core.window import MaintenanceWindow

_PARTS = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(value: Any) -> Any:
    """Read a duration as people write it: `2m`, `30s`, `1h30m`, or a number of seconds.

    Args:
        value: text such as `2m`; other types pass through, and pydantic validates them as numbers.
    Returns: Seconds.
    Raises: ValueError: the text is not a duration.
    """
    if not isinstance(value, str):
        return value
    found = _PARTS.fullmatch(value.replace(" ", ""))
    if not found or not any(found.groups()):
        raise ValueError("must be a duration, for example 2m, 30s, 1h30m, or a number of seconds")
    return sum(float(n) * _SECONDS[unit] for unit, n in found.groupdict().items() if n)


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
"""Seconds, at least 0."""


class Breach(Section):
    """When a live release counts as misbehaving: above its gates, or far worse than the last good release."""

    hold_s: Duration = Field(120.0, alias="for")
    """How long the breach must hold, for example `2m`, `30s`, or a number of seconds."""
    times_baseline: Annotated[float, Field(gt=1)] = 3.0
    """TTFT, inter-token latency, or the time of a request for embed and score, may be this many times those of the last
    good release."""
    min_requests: PositiveInt = 10
    """Fewer requests than this prove nothing."""


class Rollout(Section):
    """How a release replaces the live one, and how it is watched afterwards."""

    strategy: Literal["auto", "blue_green", "recreate"] = "auto"
    """`blue_green` starts the candidate beside the live release. `recreate` stops the live release first.
    `auto` takes `blue_green`, and `recreate` only where no surge fits and `allow_downtime` is true."""
    allow_downtime: bool = False
    """Allows the live release to be stopped to make room. Users get no answers until the next release is live."""
    approval: Literal["auto", "manual"] = "auto"
    """`manual` lets a proven candidate wait for `genai approve`."""
    window: MaintenanceWindow | None = None
    """When rollouts may start and traffic may move, for example `Mon-Fri 09:00-17:00 Europe/Berlin`. The default is
    always. A rollback never waits for it."""
    drain_deadline_s: PositiveInt = 30
    """Seconds that requests of the replaced release may take to end."""
    max_attempts: PositiveInt = 3
    """Attempts that end without a verdict before the release is rejected."""
    watch_minutes: Annotated[float, Field(ge=0, le=525_600)] = 30
    """Minutes that the new release is watched while the last good one stays warm. 0 switches the watch off."""
    guard: bool = True
    """After the watch, goes back when the release fails or crashes. The last good release starts first."""
    breach: Breach = Breach()  # pyright: ignore[reportCallIssue]
    paused: bool = False
    """Starts no rollout and no promotion."""
    self_heal: bool = False
    """Repairs objects that were changed by hand in the cluster. The default only reports them."""

    @model_validator(mode="after")
    def _users_are_served_while_it_waits(self) -> Rollout:
        if self.approval == "manual" and (self.allow_downtime or self.strategy == "recreate"):
            stops = "strategy recreate" if self.strategy == "recreate" else "allow_downtime"
            raise ValueError(f"{stops} stops the live release before the next one is approved: use approval auto")
        return self


class Refresh(Section):
    """When the live release goes through its agent suite again."""

    evaluation: Cron = "23 5 * * *"
    """Schedule as crontab writes it, or `off`."""
    timezone: TimeZone = "UTC"
    """Time zone of the schedule."""
