"""A staging over time, as one SVG that Markdown can carry: when each file was under way, and the throughput.

Hand-written for the same reason as the plot of the serving report. The UI allows images only as data URIs.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from xml.sax.saxutils import escape

from genai_pipeline.staging.progress import MIB, FileProgress, How, Progress, Sample

_WIDTH, _LEFT, _RIGHT, _TOP = 720, 220, 20, 34
_ROW, _LINE_HEIGHT, _AXIS = 16, 120, 36
_MOST_ROWS = 24
_LONGEST_NAME = 34
_COLOURS = {How.STREAMED: "#2563eb", How.COPIED: "#d97706", How.KEPT: "#16a34a"}
_GREY = "#6b7280"


def markdown(state: Progress) -> str:
    """The plot as a Markdown image."""
    image = base64.b64encode(svg(state).encode()).decode()
    return f"![Files and throughput over time](data:image/svg+xml;base64,{image})"


def svg(state: Progress) -> str:
    """The largest files as bars from begin to end, coloured by how they came; below, MiB/s in the store over time."""
    files = sorted((f for f in state.files if f.began_s is not None), key=lambda f: f.size, reverse=True)
    shown = sorted(files[:_MOST_ROWS], key=lambda f: (f.began_s or 0.0, f.path))
    end = max([state.elapsed_s, *(f.ended_s or 0.0 for f in shown), 1e-3])
    bars = "".join(_bar(file, row, end) for row, file in enumerate(shown))
    samples = [*state.samples, Sample(state.elapsed_s, state.bytes_from_source, state.bytes_done)]
    top = _TOP + _ROW * len(shown) + _TOP
    height = top + _LINE_HEIGHT + _AXIS
    title = "Files" if len(files) <= _MOST_ROWS else f"The {_MOST_ROWS} largest of {len(files)} files"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="8" y="16" font-weight="bold">{title}</text>{_legend()}{bars}'
        f"{_throughput(samples, end, top)}{_time_axis(end, top + _LINE_HEIGHT)}</svg>"
    )


def rates(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """(seconds from the start, MiB/s since the sample before)."""
    before = Sample(0.0, 0, 0)
    found: list[tuple[float, float]] = []
    for sample in samples:
        took = sample.at_s - before.at_s
        if took > 0:
            found.append((sample.at_s, (sample.bytes_done - before.bytes_done) / MIB / took))
            before = sample
    return found


def _x(at_s: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at_s / end


def _bar(file: FileProgress, row: int, end: float) -> str:
    begin = _x(file.began_s or 0.0, end)
    width = max(1.5, _x(file.ended_s if file.ended_s is not None else end, end) - begin)
    y = _TOP + _ROW * row
    name = file.path if len(file.path) <= _LONGEST_NAME else "…" + file.path[1 - _LONGEST_NAME :]
    return (
        f'<text x="{_LEFT - 8}" y="{y + 11}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{begin:.1f}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 5}" fill="{_COLOURS[file.how]}">'
        f"<title>{escape(file.path)}: {file.size} bytes, {file.how}</title></rect>"
    )


def _legend() -> str:
    return "".join(
        f'<text x="{_WIDTH - _RIGHT - 85 * number}" y="16" text-anchor="end" fill="{colour}">■ {how}</text>'
        for number, (how, colour) in enumerate(_COLOURS.items())
    )


def _throughput(samples: Sequence[Sample], end: float, top: int) -> str:
    points = rates(samples)
    highest = max((rate for _, rate in points), default=0.0) * 1.1 or 1.0

    def y(rate: float) -> float:
        return top + _LINE_HEIGHT * (1 - rate / highest)

    lines = [f'<text x="8" y="{top}" font-weight="bold">In the store, MiB/s</text>']
    for value in (0.0, highest / 2, highest):
        lines.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e5e7eb"/>'
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" fill="{_GREY}">{value:.0f}</text>'
        )
    path = " ".join(f"{_x(at, end):.1f},{y(rate):.1f}" for at, rate in points)
    return "".join(lines) + f'<polyline points="{path}" fill="none" stroke="#2563eb" stroke-width="2"/>'


def _time_axis(end: float, y: int) -> str:
    marks = "".join(
        f'<text x="{_x(end * share, end):.1f}" y="{y + 16}" text-anchor="middle">{end * share:.1f}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return f'{marks}<text x="{middle}" y="{y + 31}" text-anchor="middle" fill="{_GREY}">seconds</text>'
