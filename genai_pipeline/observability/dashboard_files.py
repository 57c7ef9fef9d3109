"""The dashboards as they are shipped: JSON for Grafana 11 and later, made by `boards/`."""

from __future__ import annotations

import json
import re
from pathlib import Path

from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.observability.recordings import GATE, WATCH_LIMIT

DASHBOARDS = Path(__file__).parent / "dashboards"
HELD_BACK = "Held back by"
EMPTY_IF_ALL_IS_WELL = ("Not passed", HELD_BACK)
"""Panels that list what is wrong."""
RATE_INTERVAL = "1m"
"""Four scrapes of the PodMonitors, as Grafana would choose."""
_VARIABLE = re.compile(r"\$([a-z_]+)")


def dashboard_files() -> list[Path]:
    """Return the files of all dashboards, by name."""
    return sorted(DASHBOARDS.glob("*.json"))


def boards_of(spec: ModelSpec) -> list[Path]:
    """Return the dashboards in which a live release of a model must be seen.

    The figures of an agent appear with its first turn, so its own dashboard may be empty.
    """
    wanted = ["service"] + (["engine"] if spec.task.generates else [])
    wanted += ["releases"] if spec.has_agent else []
    wanted += ["gpu"] if spec.serving.gpu else []
    return [DASHBOARDS / f"genai-{name}.json" for name in wanted]


def panel_queries(dashboard: Path) -> list[tuple[str, str]]:
    """Return title and expression of every query that always has something to show. A limit may be unset."""
    panels = json.loads(dashboard.read_text())["panels"]
    asked = [panel for panel in panels if panel["title"] not in EMPTY_IF_ALL_IS_WELL]
    found = [(panel["title"], target["expr"]) for panel in asked for target in panel.get("targets", [])]
    return [(title, expr) for title, expr in found if not expr.startswith((GATE, WATCH_LIMIT))]


def filled(expr: str, namespace: str, model: str, release: str) -> str:
    """Return an expression with the variables of the dashboards replaced."""
    values = {"__rate_interval": RATE_INTERVAL, "namespace": namespace, "model": model, "release": release}
    return _VARIABLE.sub(lambda found: values[found[1]], expr)
