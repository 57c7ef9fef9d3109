"""The addresses of the local profile's services: `genai up` writes them with the ports that it got."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any


def addresses_of(home: Path, fields: Collection[str]) -> dict[str, str]:
    """Return what `genai up` wrote for these settings; an empty mapping before its first start."""
    try:
        written: dict[str, Any] = json.loads((home / "local.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {field: value for field, value in written.items() if field in fields and isinstance(value, str)}
