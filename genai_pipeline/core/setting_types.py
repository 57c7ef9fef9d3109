"""The types of settings, each with the check of its value."""

from __future__ import annotations

import re
from typing import Annotated, Any, cast

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.fields import FieldInfo


def _words(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _with_slash(registry: str) -> str:
    return f"{registry.rstrip('/')}/" if registry else ""


def _secret_name(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
        raise ValueError("It must be the name of a Secret: lower case letters, digits, `-` and `.`")
    return name


def _sessions(place: str) -> str:
    if place != "memory" and not place.startswith("s3://"):
        raise ValueError("Use memory or s3://bucket/prefix")
    return place


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Registry = Annotated[str, AfterValidator(_with_slash)]
SecretName = Annotated[str, AfterValidator(_secret_name)]
SessionsPlace = Annotated[str, AfterValidator(_sessions)]


def setting(variable: str, description: str, default: Any = None, shown: str = "") -> Any:
    """Return one setting; `shown` is its default in words, where it depends on the profile."""
    return Field(default, description=description, json_schema_extra={"variable": variable, "default": shown})


class Setting:
    """One setting as people know it: its variable, what it means, and its default in words."""

    def __init__(self, field: str, info: FieldInfo) -> None:
        more = cast("dict[str, str]", info.json_schema_extra)
        self.field = field
        self.variable = more["variable"]
        self.description = info.description or ""
        self.is_number = isinstance(info.default, int) and not isinstance(info.default, bool)
        self.default = more["default"] or f"`{info.default}`"
