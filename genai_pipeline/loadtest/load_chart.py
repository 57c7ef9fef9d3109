"""A chart of time and throughput over the number of concurrent requests, each with its gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.core.svg import BLUE, ORANGE, Axes, as_markdown, document, text
from genai_pipeline.core.task import Task

_WIDTH, _HEIGHT = 330, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 36
_MOST_HEADROOM = 3
"""A gate further above the values than this would flatten them. Its label says where it is instead."""

_Series = tuple[str, str, Sequence[float | None]]
"""Label, colour, a value for each step."""


@dataclass(frozen=True)
class LoadPoint:
    """One step of the load.

    Args:
        p50_ms, p95_ms: to the first token, or of a whole request that is pooled, or None where none was answered.
        tokens_per_s: generated tokens, or tokens of prompts that are pooled.
    """

    concurrency: int
    p50_ms: float | None
    p95_ms: float | None
    tokens_per_s: float


def load_chart(points: Sequence[LoadPoint], task: Task, limit_ms: float, min_tokens_per_s: float | None) -> str:
    """Return the chart as a Markdown image."""
    return as_markdown("Time and throughput over concurrent requests", svg(points, task, limit_ms, min_tokens_per_s))


def svg(points: Sequence[LoadPoint], task: Task, limit_ms: float, min_tokens_per_s: float | None) -> str:
    """Draw two panels over concurrency. A limit that is None is not drawn."""
    time, tokens = ("TTFT", "Generated") if task.generates else ("Time of a request", "Prompt")
    levels = [point.concurrency for point in points]
    times: list[_Series] = [
        ("p50", BLUE, [point.p50_ms for point in points]),
        ("p95", ORANGE, [point.p95_ms for point in points]),
    ]
    rates: list[_Series] = [("", BLUE, [point.tokens_per_s for point in points])]
    left = _panel(0, f"{time} (ms)", levels, times, limit_ms)
    right = _panel(_WIDTH, f"{tokens} tokens/s", levels, rates, min_tokens_per_s)
    return document(2 * _WIDTH, _HEIGHT, *left, *right)


def _panel(offset: int, title: str, levels: Sequence[int], series: Sequence[_Series], limit: float | None) -> list[str]:
    highest = max((value for _, _, values in series for value in values if value is not None), default=0.0)
    off_scale = (limit or 0.0) > highest * _MOST_HEADROOM > 0
    top = (highest if off_scale else max(highest, limit or 0.0)) * 1.15 or 1.0
    right = offset + _WIDTH - _RIGHT
    axes = Axes(offset + _LEFT, right, _TOP, _HEIGHT - _BOTTOM, max(1, len(levels)), top)
    labels = [(place + 0.5, str(level)) for place, level in enumerate(levels)]
    parts = [axes.title(title), axes.grid(), axes.ticks(labels, "concurrent requests")]
    if limit is not None:
        parts.append(axes.limit(limit, f"gate {limit:g}"))
    for number, (label, colour, values) in enumerate(series):
        parts.append(axes.line([(i + 0.5, v) for i, v in enumerate(values) if v is not None], colour, dot=3))
        parts.append(text(axes.left + 110 + 40 * number, _TOP - 18, label, fill=colour))
    return parts
