"""A variable of an engine's environment: text, or a key of a Secret in its namespace, as Kubernetes writes it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

KEY_REF = "secretKeyRef"
_FORM = "{secretKeyRef: {name: <Secret>, key: <key>}}"


def _text_or_reference(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("must be text; put it in quotes when YAML reads it as another type")
    given = cast("Mapping[Any, Any]", value)
    reference = given.get(KEY_REF)
    named: Mapping[Any, Any] = cast("Mapping[Any, Any]", reference) if isinstance(reference, Mapping) else {}
    if set(given) != {KEY_REF} or set(named) != {"name", "key"} or not all(isinstance(v, str) for v in named.values()):
        raise ValueError(f"must be text, or for a secret {_FORM}")
    return given


EnvValue = Annotated[str | dict[str, dict[str, str]], BeforeValidator(_text_or_reference)]
