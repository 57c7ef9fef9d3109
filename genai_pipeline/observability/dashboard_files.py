"""The dashboards as they are shipped: JSON for Grafana 11 and later, made by `boards/`."""

from __future__ import annotations

from pathlib import Path

DASHBOARDS = Path(__file__).parent / "dashboards"


def dashboard_files() -> list[Path]:
    """Return the files of all dashboards, by name."""
    return sorted(DASHBOARDS.glob("*.json"))
