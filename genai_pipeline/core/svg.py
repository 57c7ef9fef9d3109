"""The shared parts of the pipeline's charts: text, lines, and axes with a scale. Pure.

Written here, because a plotting library would be a large dependency for a few lines and dots. Dagster's UI shows images
in Markdown only as data URIs.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

BLUE, ORANGE, GREEN, RED, GREY = "#2563eb", "#d97706", "#16a34a", "#dc2626", "#6b7280"
_GRID = "#e5e7eb"

XY = tuple[float, float]


def document(width: float, height: float, *parts: str) -> str:
    """Return a whole SVG document with a white background; sizes are in pixels."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>'
    )


def as_markdown(description: str, svg: str) -> str:
    """Return the document as a Markdown image."""
    return f"![{description}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def text(x: float, y: float, content: str, anchor: str = "start", fill: str = "black", bold: bool = False) -> str:
    """Return a line of text; `anchor` says which part of it stands at `x`: start, middle or end."""
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(content)}</text>'


def segment(start: XY, end: XY, colour: str, dashed: bool = False) -> str:
    """Return a straight line."""
    (x1, y1), (x2, y2) = start, end
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dash}/>'


@dataclass(frozen=True)
class Axes:
    """A rectangle of a chart in which values are drawn, each axis from 0 to its maximum.

    Args:
        left, right, top, bottom: the edges in pixels, measured from the document's upper left corner.
        x_max, y_max: the values at the right and the upper edge; above 0.
    """

    left: float
    right: float
    top: float
    bottom: float
    x_max: float
    y_max: float

    def x(self, value: float) -> float:
        """Return the horizontal position of a value in pixels."""
        return self.left + (self.right - self.left) * value / self.x_max

    def y(self, value: float) -> float:
        """Return the vertical position of a value in pixels."""
        return self.bottom - (self.bottom - self.top) * value / self.y_max

    def title(self, content: str) -> str:
        """Return the heading above the upper edge."""
        return text(self.left, self.top - 18, content, bold=True)

    def grid(self, shares: Sequence[float] = (0, 0.5, 1), form: str = ".0f") -> str:
        """Return horizontal lines at these shares of `y_max`, each with its value at the left."""
        values = [share * self.y_max for share in shares]
        lines = [segment((self.left, self.y(v)), (self.right, self.y(v)), _GRID) for v in values]
        return "".join([*lines, *(text(self.left - 6, self.y(v) + 4, f"{v:{form}}", "end", GREY) for v in values)])

    def ticks(self, labels: Sequence[tuple[float, str]], unit: str = "") -> str:
        """Return labels below the lower edge, at their values, and the unit below them."""
        named = [text(self.x(value), self.bottom + 16, label, "middle") for value, label in labels]
        return "".join(named) + text((self.left + self.right) / 2, self.bottom + 31, unit, "middle", GREY)

    def line(self, points: Sequence[XY], colour: str, dot: float = 0) -> str:
        """Return a line through points given as values, with dots of that radius where `dot` is above 0."""
        drawn = [(self.x(x), self.y(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in drawn)
        dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{dot}" fill="{colour}"/>' for x, y in drawn] if dot else []
        return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{"".join(dots)}'

    def limit(self, value: float, label: str) -> str:
        """Return a dashed line at a gate; where it lies above the axis only its label, with an arrow."""
        if value > self.y_max:
            return text(self.right, self.top - 18, f"{label} ↑", "end", RED)
        y = self.y(value)
        return segment((self.left, y), (self.right, y), RED, dashed=True) + text(self.right, y - 4, label, "end", RED)
