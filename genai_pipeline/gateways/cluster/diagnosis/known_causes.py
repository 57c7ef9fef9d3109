"""Looks texts up in the tables of known causes, `known_causes.yaml` and `ray_causes.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

Source = Literal["engine_logs", "api_server", "scheduler", "kuberay", "serve", "ray_logs"]
_CHATTER = re.compile(r"^(?:\([^)]*\) )?(?:INFO|DEBUG|WARNING)\b|^\s*warnings\.warn|\w*Warning: ")
"""Lines that engines print although all is well. They also mention missing modules, memory and arguments."""


@dataclass(frozen=True)
class Cause:
    """Why something does not start, and how to mend it. `final`: neither time nor another start helps."""

    what: str
    remedy: str
    final: bool = False


def known_cause(source: Source, text: str) -> Cause | None:
    """Return the first cause of the table that matches, with the detail that the text names.

    Args:
        source: who wrote the text; a section of the table.
        text: one message, or the lines of a log.
    Returns: None for a text that the table does not know.
    """
    for pattern, cause in _table()[source]:
        match = pattern.search(text)
        if match:
            detail = (match.groupdict().get("detail") or "").strip()
            return Cause(f"{cause.what}: {detail}" if detail else cause.what, cause.remedy, cause.final)
    return None


def likely_cause(log: str) -> Cause | None:
    """Return the first known cause in the last lines of an engine's log, or None."""
    return known_cause("engine_logs", "\n".join(line for line in log.splitlines() if not _CHATTER.search(line)))


@cache
def _table() -> dict[Source, list[tuple[re.Pattern[str], Cause]]]:
    files = [Path(__file__).with_name(f"{name}_causes.yaml") for name in ("known", "ray")]
    sections = {k: rows for file in files for k, rows in yaml.safe_load(file.read_text(encoding="utf-8")).items()}
    return {
        source: [
            (re.compile(pattern, re.MULTILINE), Cause(row["cause"], row["remedy"], row.get("final", False)))
            for row in rows
            for pattern in row["patterns"]
        ]
        for source, rows in sections.items()
    }
