"""What a watch saw over its time, as one SVG that Markdown can carry. Pure; the style is loadtest/plot.py's."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from xml.sax.saxutils import escape

Point = tuple[float, float | None, float | None]
"""Seconds into the watch, TTFT p95 in ms, share of failed requests; None where nothing could be said."""

_WIDTH, _HEIGHT = 330, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 30
_BLUE, _RED, _GREY = "#2563eb", "#dc2626", "#6b7280"


def picture(points: Sequence[Point]) -> str:
    """A Markdown image; empty where there is nothing to draw."""
    ttft = [(at, value) for at, value, _ in points if value is not None]
    failed = [(at, share * 100) for at, _, share in points if share is not None]
    if len(ttft) < 2 and len(failed) < 2:
        return ""
    length = max(at for at, _, _ in points) or 1.0
    panels = _panel("TTFT p95 (ms)", ttft, length, _BLUE)
    panels += f'<g transform="translate({_WIDTH} 0)">{_panel("Failed requests (%)", failed, length, _RED)}</g>'
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * _WIDTH}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{panels}</svg>'
    )
    return f"![What the watch saw](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _panel(title: str, values: Sequence[tuple[float, float]], length: float, colour: str) -> str:
    top = max((value for _, value in values), default=0.0) * 1.15 or 1.0
    right, floor = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    drawn = " ".join(
        f"{_LEFT + (right - _LEFT) * at / length:.1f},{floor - (floor - _TOP) * value / top:.1f}"
        for at, value in values
    )
    axis = f'<line x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}" stroke="#e5e7eb"/>'
    time = f"{length:.0f} s after the cut-over"
    marks = (
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end" fill="{_GREY}">{top:.3g}</text>'
        f'<text x="{_LEFT - 6}" y="{floor + 4}" text-anchor="end" fill="{_GREY}">0</text>'
        f'<text x="{right}" y="{_HEIGHT - 10}" text-anchor="end" fill="{_GREY}">{time}</text>'
    )
    line = f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(title)}</text>{axis}{marks}{line}'
