"""When a schedule is due, as crontab writes it: `23 5 * * *`. Checked here, evaluated by Dagster."""

from __future__ import annotations

import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator

_DAYS = {name: day for day, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_MONTHS = {
    name: month + 1
    for month, name in enumerate(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"))
}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_PART = re.compile(r"(?P<all>\*)(?:/(?P<every>\d+))?|(?P<first>\w+)(?:-(?P<last>\w+)(?:/(?P<step>\d+))?)?")
_EXAMPLE = 'write five fields as crontab does, for example "23 5 * * *" for every day at 05:23'


def cron(value: Any) -> Any:
    """The text with single spaces; None where it is `off` (which YAML reads as false).

    Raises: ValueError: says which field is wrong.
    """
    if value is False or value is None or (isinstance(value, str) and value.strip().lower() == "off"):
        return None
    if not isinstance(value, str):
        raise ValueError(f"is no schedule: {_EXAMPLE}, or off")
    fields = value.lower().split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"has {len(fields)} fields, not 5: {_EXAMPLE}, or off")
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        if not all(_is_right(part, low, high, names) for part in text.split(",")):
            raise ValueError(f"has no {name} {text!r} ({low} to {high}): {_EXAMPLE}, or off")
    return " ".join(fields)


def _is_right(part: str, low: int, high: int, names: dict[str, int]) -> bool:
    found = _PART.fullmatch(part)
    if not found:
        return False
    steps = [int(n) for n in (found["every"], found["step"]) if n]
    if any(not 1 <= step <= high for step in steps):
        return False
    if found["all"]:
        return True
    first, last = (names.get(found[end] or "", found[end]) for end in ("first", "last"))
    ends = [int(end) for end in (first, last) if end is not None and str(end).isdigit()]
    given = 1 if last is None else 2
    return len(ends) == given and low <= ends[0] <= ends[-1] <= high


def zone(value: Any) -> Any:
    """The name of a time zone. Raises: ValueError: the IANA database has none of that name."""
    if isinstance(value, str):
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError("names no time zone of the IANA database: write it as UTC or Europe/Berlin") from None
    return value


Cron = Annotated[str | None, BeforeValidator(cron)]
TimeZone = Annotated[str, BeforeValidator(zone)]
