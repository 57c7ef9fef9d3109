"""Permissions as docs/eks.md and docs/observability.md list them."""

from __future__ import annotations

import json
import re
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"
_ACTION = re.compile(r"`([a-z0-9]+:[A-Z]\w+)`")


def documented() -> dict[str, set[str]]:
    """Return account -> actions: those of the tables, and those of the agent's policy."""
    found: dict[str, set[str]] = {}
    for page in ("eks.md", "observability.md"):
        for line in (DOCS / page).read_text().splitlines():
            cells = line.strip("| ").split(" | ")
            actions = set(_ACTION.findall(cells[-1]))
            if line.startswith("| `") and len(cells) == 2 and actions:
                for account in re.findall(r"`([a-z-]+)`", cells[0])[:1]:
                    found.setdefault(account, set()).update(actions)
    found["genai-agent"] = {action for s in agents_policy()["Statement"] for action in _listed(s["Action"])}
    return found


def agents_policy() -> dict:
    return json.loads(re.findall(r"```json\n(.*?)```", (DOCS / "eks.md").read_text(), re.S)[0])


def _listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions
