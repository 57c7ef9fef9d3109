"""Pass rate over releases, with its interval and the gate, as one SVG that Markdown can carry.

Hand-written for the reason that stands in loadtest/plot.py: a plotting library for a dozen points.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from genai_pipeline.evaluation.statistics import wilson

MOST_POINTS = 20
_WIDTH, _HEIGHT = 660, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 44
_LABEL_WIDTH = 44
"""Of six letters and some room; where releases are many, only some are named, the newest among them."""
_BLUE, _GREY, _RED = "#2563eb", "#6b7280", "#dc2626"


@dataclass(frozen=True)
class Point:
    """One release: how many of its cases it solved, and whether it is the one that all is about."""

    release: str
    solved: int
    cases: int
    live: bool = False


def markdown(points: Sequence[Point], minimum: float) -> str:
    """The plot as a Markdown image; empty where there is nothing to draw."""
    if not points:
        return ""
    image = base64.b64encode(svg(points, minimum).encode()).decode()
    return f"![Share of cases solved over releases](data:image/svg+xml;base64,{image})"


def svg(points: Sequence[Point], minimum: float) -> str:
    """The newest MOST_POINTS, oldest first; the gate as a dashed line. The scale is always 0 to 100 %."""
    shown = [point for point in points if point.cases][-MOST_POINTS:]
    parts = [f'<text x="{_LEFT}" y="16" font-weight="bold">Cases solved, with 95 % interval</text>', *_axes(minimum)]
    drawn = [(_x(i, len(shown)), _y(point.solved / point.cases)) for i, point in enumerate(shown)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{_BLUE}" stroke-width="1.5"/>')
    apart = math.ceil(_LABEL_WIDTH * len(shown) / (_WIDTH - _LEFT - _RIGHT))
    for age, (point, (x, y)) in enumerate(zip(reversed(shown), reversed(drawn), strict=True)):
        parts += _point(point, x, y, named=age % max(1, apart) == 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>'
    )


def _x(position: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (position + 0.5) / max(1, count)


def _y(rate: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * rate


def _axes(minimum: float) -> list[str]:
    right = _WIDTH - _RIGHT
    parts: list[str] = []
    for rate in (0.0, 0.5, 1.0):
        y = _y(rate)
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{_GREY}">{rate:.0%}</text>')
    gate = _y(minimum)
    dash = f'stroke="{_RED}" stroke-dasharray="5 4"'
    parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{gate:.1f}" y2="{gate:.1f}" {dash}/>')
    said = f"gate {minimum:.0%}"
    return [*parts, f'<text x="{right}" y="{gate + 13:.1f}" text-anchor="end" fill="{_RED}">{said}</text>']


def _point(point: Point, x: float, y: float, named: bool) -> list[str]:
    interval = wilson(point.solved, point.cases)
    low, high = _y(interval.low), _y(interval.high)
    label = escape(point.release[:6]) if named else ""
    under = f'<text x="{x:.1f}" y="{_HEIGHT - 8}" text-anchor="middle" fill="{_GREY}">live</text>' if point.live else ""
    return [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{_BLUE}" stroke-opacity="0.5"/>',
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{_BLUE}"/>',
        f'<text x="{x:.1f}" y="{_HEIGHT - 24}" text-anchor="middle" fill="{_GREY}">{label}</text>{under}',
    ]
