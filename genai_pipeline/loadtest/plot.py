"""TTFT and throughput over load, as one SVG that Markdown can carry.

Hand-written, because a plotting library would be the largest dependency of the product for two
polylines. The UI allows images only as data URIs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 330, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 36
_BLUE, _ORANGE, _GREY, _RED = "#2563eb", "#d97706", "#6b7280", "#dc2626"
_MOST_HEADROOM = 3
"""A gate further above the values than this would flatten them; it is named instead of drawn."""


@dataclass(frozen=True)
class Point:
    """One step of the load; `ttft_*` None where nothing was answered."""

    concurrency: int
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tokens_per_s: float


@dataclass(frozen=True)
class _Line:
    label: str
    colour: str
    values: Sequence[float | None]


def svg(points: Sequence[Point], ttft_limit_ms: float, min_tokens_per_s: float) -> str:
    """Two panels over concurrency, each with its gate as a dashed line."""
    levels = [point.concurrency for point in points]
    ttft = [
        _Line("p50", _BLUE, [point.ttft_p50_ms for point in points]),
        _Line("p95", _ORANGE, [point.ttft_p95_ms for point in points]),
    ]
    tokens = [_Line("tokens/s", _BLUE, [point.tokens_per_s for point in points])]
    panels = _panel("TTFT (ms)", levels, ttft, ttft_limit_ms)
    panels += f'<g transform="translate({_WIDTH} 0)">'
    panels += _panel("Generated tokens/s", levels, tokens, min_tokens_per_s) + "</g>"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * _WIDTH}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>{panels}</svg>'
    )


def markdown(points: Sequence[Point], ttft_limit_ms: float, min_tokens_per_s: float) -> str:
    """The plot as a Markdown image."""
    image = base64.b64encode(svg(points, ttft_limit_ms, min_tokens_per_s).encode()).decode()
    return f"![TTFT and throughput over concurrent requests](data:image/svg+xml;base64,{image})"


def _panel(title: str, levels: Sequence[int], lines: Sequence[_Line], limit: float) -> str:
    known = [value for line in lines for value in line.values if value is not None]
    highest = max(known, default=0.0)
    off_scale = limit > highest * _MOST_HEADROOM > 0
    top = (highest if off_scale else max(highest, limit)) * 1.15 or 1.0

    def x(position: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (position + 0.5) / max(1, len(levels))

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top

    parts = [f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(title)}</text>', *_axes(levels, top, x, y)]
    parts.append(_dashed(None if off_scale else y(limit), f"gate {limit:g}"))
    for number, line in enumerate(lines):
        drawn = [(x(i), y(value)) for i, value in enumerate(line.values) if value is not None]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in drawn)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{line.colour}"/>' for px, py in drawn]
        if len(lines) > 1:
            parts.append(f'<text x="{_LEFT + 110 + 40 * number}" y="16" fill="{line.colour}">{line.label}</text>')
    return "".join(parts)


def _axes(levels: Sequence[int], top: float, x: Callable[[int], float], y: Callable[[float], float]) -> list[str]:
    right = _WIDTH - _RIGHT
    parts: list[str] = []
    for value in (0.0, top / 2, top):
        parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e5e7eb"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="{_GREY}">{value:.0f}</text>'
        )
    for position, level in enumerate(levels):
        parts.append(f'<text x="{x(position):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{level}</text>')
    middle = (_LEFT + right) / 2
    label = "concurrent requests"
    return [*parts, f'<text x="{middle}" y="{_HEIGHT - 5}" text-anchor="middle" fill="{_GREY}">{label}</text>']


def _dashed(height: float | None, label: str) -> str:
    """The gate's line; only its label, with an arrow, where the gate is far above the picture."""
    right = _WIDTH - _RIGHT
    if height is None:
        return f'<text x="{right}" y="16" text-anchor="end" fill="{_RED}">{escape(label)} ↑</text>'
    line = (
        f'<line x1="{_LEFT}" x2="{right}" y1="{height:.1f}" y2="{height:.1f}" stroke="{_RED}" stroke-dasharray="5 4"/>'
    )
    return f'{line}<text x="{right}" y="{height - 4:.1f}" text-anchor="end" fill="{_RED}">{escape(label)}</text>'
