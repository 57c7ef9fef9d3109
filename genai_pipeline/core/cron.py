"""Check a schedule that a model file writes as crontab does: `23 5 * * *`. Dagster evaluates it."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from pydantic import BeforeValidator

_FIELDS = 5
_EXAMPLE = 'Write five fields as crontab does, for example "23 5 * * *" for every day at 05:23, or off.'


def cron(value: Any) -> str | None:
    """Check a schedule.

    Args:
        value: what the file says; YAML reads `off` as false.
    Returns: The five fields with single spaces between them, or None for `off`.
    Raises: ValueError: the value is not a schedule. The message names the value and shows an example.
    """
    if value is False or value is None or (isinstance(value, str) and value.strip().lower() == "off"):
        return None
    if not isinstance(value, str):
        raise ValueError(f"must be a schedule. {_EXAMPLE}")
    fields = value.lower().split()
    if len(fields) != _FIELDS:
        raise ValueError(f"must have {_FIELDS} fields, and has {len(fields)}. {_EXAMPLE}")
    try:
        croniter.expand(" ".join(fields))
    except CroniterError as error:
        raise ValueError(f"is not a schedule: {error}. {_EXAMPLE}") from None
    return " ".join(fields)


def zone(value: Any) -> Any:
    """Check the name of a time zone.

    Raises: ValueError: the IANA database does not have it.
    """
    if isinstance(value, str):
        try:
            ZoneInfo(value)
        except (ValueError, OSError, KeyError):
            raise ValueError("must be a time zone of the IANA database, for example UTC or Europe/Berlin") from None
    return value


Cron = Annotated[str | None, BeforeValidator(cron)]
TimeZone = Annotated[str, BeforeValidator(zone)]
