"""Recognize what looks like a credential, by its name or by its form. Pure.

Everything in a model file ends in a Deployment, a record and the Dagster UI, so none of it may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

_ENDING = r"(_ID|_KEY)?$"
_NAME = re.compile(
    r"(^|_)((HF|HUB|AUTH|ACCESS|API|BEARER|SESSION)_TOKEN|SECRET|PASSWORD|PASSWD|API_?KEYS?|ACCESS_KEY|PRIVATE_KEY)"
    + _ENDING,
    re.I,
)
_VARIABLE = re.compile(r"(^|_)TOKEN" + _ENDING, re.I)
"""Only an environment variable: options of tokenizers are called `eos_token` and `pad_token`."""
_VALUE = re.compile(
    r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|AKIA[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----)"
    r"|://[^/@\s]*:[^/@\s]+@"  # an address with a password
)
WHY = "looks like a credential, and everyone who may read a Deployment could read it"
REMEDY = (
    "Remove it: engines load the staged model and need none. A secret that you need belongs into a Secret: "
    "`serving.env: {NAME: {secretKeyRef: {name: <Secret>, key: <key>}}}`."
)


def variable_is_secret(name: str, value: str) -> bool:
    """Return whether an environment variable looks like a credential."""
    return bool(_NAME.search(name) or _VARIABLE.search(name) or _VALUE.search(value))


def secret_in(name: str, value: Any) -> bool:
    """Return whether an argument, or a part of its value, looks like a credential."""
    if _NAME.search(name.replace("-", "_").replace(".", "_")):
        return True
    return any(secret_in(key, part) for key, part in _parts(value)) or bool(
        isinstance(value, str) and _VALUE.search(value)
    )


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in cast(Mapping[Any, Any], value).items():
            yield str(key), part
    elif isinstance(value, list):
        yield from (("", part) for part in cast(list[Any], value))
