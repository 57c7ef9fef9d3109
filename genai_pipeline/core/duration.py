"""Durations as people write them: `2m`, `30s`, `1h30m`, or a number of seconds."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_PARTS = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(value: Any) -> Any:
    """Read a duration.

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
