"""A chart of the pass rate over releases, with the interval of each and the gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genai_pipeline.core.svg import BLUE, GREY, Axes, as_markdown, document, segment, text
from genai_pipeline.evaluation.statistics import wilson

MOST_POINTS = 20
_WIDTH, _HEIGHT = 660, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 44
_LABEL_WIDTH = 44
"""Six letters and some room. Where releases are many, only some are named; the newest one always is."""


@dataclass(frozen=True)
class RatePoint:
    """One release: how many of its cases it solved, and whether it is live."""

    release: str
    solved: int
    cases: int
    live: bool = False


def pass_rate_chart(points: Sequence[RatePoint], minimum: float) -> str:
    """Return the chart as a Markdown image, or an empty text where there are no points."""
    return as_markdown("Share of cases solved over releases", svg(points, minimum)) if points else ""


def svg(points: Sequence[RatePoint], minimum: float) -> str:
    """Draw the newest MOST_POINTS, oldest first, on a scale from 0 to 100 %; `minimum` is the gate, from 0 to 1."""
    shown = [point for point in points if point.cases][-MOST_POINTS:]
    axes = Axes(_LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM, max(1, len(shown)), 1)
    rates = [(place + 0.5, point.solved / point.cases) for place, point in enumerate(shown)]
    parts = [axes.title("Cases solved, with 95 % interval"), axes.grid(form=".0%")]
    parts += [axes.limit(minimum, f"gate {minimum:.0%}"), axes.line(rates, BLUE, dot=4)]
    apart = math.ceil(_LABEL_WIDTH * len(shown) / (axes.right - axes.left))
    for place, point in enumerate(shown):
        x, interval = axes.x(place + 0.5), wilson(point.solved, point.cases)
        parts.append(segment((x, axes.y(interval.low)), (x, axes.y(interval.high)), BLUE))
        if (len(shown) - 1 - place) % apart == 0:
            parts.append(text(x, _HEIGHT - 24, point.release[:6], "middle", GREY))
        if point.live:
            parts.append(text(x, _HEIGHT - 8, "live", "middle", GREY))
    return document(_WIDTH, _HEIGHT, *parts)
