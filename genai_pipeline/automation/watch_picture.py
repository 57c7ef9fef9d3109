"""A chart of what a watch saw over its time."""

from __future__ import annotations

from collections.abc import Sequence

from genai_pipeline.core.svg import BLUE, GREY, RED, XY, Axes, as_markdown, document, text

Point = tuple[float, float | None, float | None]
"""Seconds into the watch, TTFT p95 in ms, share of failed requests. None stands for a figure that was not measured."""

_WIDTH, _HEIGHT = 330, 160
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 30


def picture(points: Sequence[Point]) -> str:
    """Return the chart as a Markdown image, or an empty text where neither figure was measured twice."""
    ttft = [(at, value) for at, value, _ in points if value is not None]
    failed = [(at, share * 100) for at, _, share in points if share is not None]
    if len(ttft) < 2 and len(failed) < 2:
        return ""
    length = max(at for at, _, _ in points) or 1.0
    panels = _panel(0, "TTFT p95 (ms)", ttft, length, BLUE) + _panel(_WIDTH, "Failed requests (%)", failed, length, RED)
    return as_markdown("What the watch saw", document(2 * _WIDTH, _HEIGHT, panels))


def _panel(offset: int, title: str, values: Sequence[XY], length: float, colour: str) -> str:
    top = max((value for _, value in values), default=0.0) * 1.15 or 1.0
    axes = Axes(offset + _LEFT, offset + _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM, length, top)
    time = text(axes.right, _HEIGHT - 10, f"{length:.0f} s after the cut-over", "end", GREY)
    return axes.title(title) + axes.grid((0, 1), ".3g") + axes.line(values, colour) + time
