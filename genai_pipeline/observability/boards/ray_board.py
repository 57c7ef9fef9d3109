"""Dashboard *Ray Serve*: the panels that the installed Ray makes itself, in today's form.

Ray writes panels of the type `graph`, which Grafana only converts on load. Its variables become those of all our
dashboards. Left out are gRPC, which is not served, and the autoscaler's own metrics, which are on another port.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from grafana_foundation_sdk.models.dashboard import Dashboard

from genai_pipeline.observability.boards.panels import OURS, RATE, THIRD, Line, Panel, board, graph

_UNITS = {"%": "percent", "seconds": "s", "qps": "reqps", "ms": "ms", "Bps": "Bps"}
_NOT_SERVED = ("grpc", "autoscaler_")
_RAYS_OWN = re.compile(r'(application|route|method|ray_io_cluster)(=~"\$\w+"|!~"/ray[^"]*"),?')


def ray_board() -> Dashboard:
    """Return the dashboard. Raises: ImportError: Ray is not installed."""
    import ray
    from ray.dashboard.modules.metrics.grafana_dashboard_factory import generate_serve_grafana_dashboard

    made: Mapping[str, Any] = json.loads(generate_serve_grafana_dashboard()[0])
    return board(
        "genai-ray-serve",
        "GenAI: Ray Serve",
        f"What Ray {ray.__version__} shows of Serve itself, for engines on Ray.",
        [("Ray Serve", list(_panels(made)))],
    )


def _panels(made: Mapping[str, Any]) -> Iterator[Panel]:
    for panel in made["panels"]:
        lines = [
            Line(_in_our_words(target["expr"]), _legend(target["legendFormat"]))
            for target in panel.get("targets", [])
            if not any(word in _plain(target["expr"]) for word in _NOT_SERVED)
        ]
        if lines:
            unit = panel["fieldConfig"]["defaults"]["unit"]
            yield graph(panel["title"], _UNITS.get(unit, "short"), *lines, why=panel["description"], width=THIRD)


def _plain(expr: str) -> str:
    """Return the expression with HTTP alone where Ray takes HTTP and gRPC together by a pattern."""
    return re.sub(r'\{__name__=~ ?"(\w+)\(http\|grpc\)(\w+)",', r"\1http\2{", expr)


def _in_our_words(expr: str) -> str:
    ours = ",".join(OURS)
    expr = _plain(expr)
    expr = _RAYS_OWN.sub("", expr.replace('method!~"/ray\\\\.serve\\\\.RayServeAPIService/.*",', ""))
    expr = re.sub(r",?\}", f",{ours}}}", expr).replace("{,", "{")
    return expr.replace("[5m]", f"[{RATE}]")


def _legend(written: str) -> str:
    """Return Ray's `{{a, b}}` as two labels: Grafana takes it for one."""
    return re.sub(r"\{\{(\w+(?:, \w+)+)\}\}", lambda m: " ".join(f"{{{{{n}}}}}" for n in m[1].split(", ")), written)
