"""The models that are asked, in their order, as the environment names them.

`MODEL_FALLBACKS=bedrock:us.amazon.nova-pro-v1:0,openai:gpt-x@https://host/v1`: provider, model, and for `openai` the
address, by default MODEL_BASE_URL. Standard library only: settings.py imports this before Strands is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

Provider = Literal["openai", "bedrock"]
DEFAULT_MODEL: dict[Provider, str] = {"openai": "weather-agent", "bedrock": "us.amazon.nova-pro-v1:0"}
EXAMPLE = "bedrock:us.amazon.nova-pro-v1:0,openai:gpt-x@https://host/v1"
_ADDRESS = re.compile(r"@(?=https?://)")  # names of models hold `@` too: `model@release`


@dataclass(frozen=True)
class EndpointSpec:
    """One model at one place. `base_url` is empty for Bedrock, whose place is the AWS region."""

    provider: Provider
    model: str
    base_url: str = ""
    api_key: str = field(default="none", repr=False)

    @property
    def where(self) -> str:
        """The place, for messages."""
        return "Amazon Bedrock" if self.provider == "bedrock" else self.base_url

    @property
    def name(self) -> str:
        """The place, for labels of metrics: without path and user, which may hold secrets."""
        return "bedrock" if self.provider == "bedrock" else urlsplit(self.base_url).netloc.rpartition("@")[2]


def fallback_specs(text: str, keys: str, base_url: str, api_key: str) -> tuple[EndpointSpec, ...]:
    """Read MODEL_FALLBACKS and MODEL_FALLBACK_API_KEYS (as many keys as fallbacks, and an empty one without need).

    MODEL_API_KEY is never sent to another address than that of MODEL_BASE_URL.

    Raises: ValueError: names the wrong entry and shows a right one.
    """
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    given = [key.strip() for key in keys.split(",")] if keys.strip() else [""] * len(entries)
    if len(given) != len(entries):
        raise ValueError(
            f"{len(entries)} fallbacks but {len(given)} keys. Give one key for each; leave it empty without need."
        )
    return tuple(_spec(entry, key, base_url, api_key) for entry, key in zip(entries, given, strict=True))


def _spec(entry: str, key: str, base_url: str, api_key: str) -> EndpointSpec:
    provider, _, rest = entry.partition(":")
    if provider not in get_args(Provider):
        raise ValueError(f"{entry!r} must begin with openai: or bedrock:. Write it like {EXAMPLE}.")
    model, *address = _ADDRESS.split(rest, maxsplit=1)
    if provider == "bedrock":
        if address:
            raise ValueError(f"{entry!r}: Bedrock has no address; its region is AWS_REGION. Write it like {EXAMPLE}.")
        return EndpointSpec("bedrock", model or DEFAULT_MODEL["bedrock"], api_key=key or "none")
    if not model:
        raise ValueError(f"{entry!r} names no model. Write it like {EXAMPLE}.")
    where = address[0] if address else base_url
    if not is_address(where):
        raise ValueError(f"{entry!r}: {where!r} is not an http(s) address. Write it like {EXAMPLE}.")
    same_place = urlsplit(where)[:2] == urlsplit(base_url)[:2]
    return EndpointSpec("openai", model, where, key or (api_key if same_place else "none"))


def is_address(text: str) -> bool:
    """Return whether the text is an http(s) address with a host."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
