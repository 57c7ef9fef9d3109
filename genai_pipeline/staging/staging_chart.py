"""A chart of a staging over time: when each file was under way, and the throughput."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from genai_pipeline.core.svg import BLUE, GREEN, ORANGE, Axes, as_markdown, document, text
from genai_pipeline.staging.meter import MIB, FileProgress, StagingProgress, ThroughputSample, TransferMethod

_WIDTH, _LEFT, _RIGHT, _TOP = 720, 220, 20, 34
_ROW, _LINE_HEIGHT, _AXIS = 16, 120, 36
_MOST_ROWS = 24
_LONGEST_NAME = 34
_COLOURS = {TransferMethod.STREAMED: BLUE, TransferMethod.COPIED: ORANGE, TransferMethod.KEPT: GREEN}


def staging_chart(state: StagingProgress) -> str:
    """Return the chart as a Markdown image."""
    return as_markdown("Files and throughput over time", svg(state))


def svg(state: StagingProgress) -> str:
    """Draw the largest files as bars from begin to end, coloured by how they came; below, MiB/s over time."""
    files = sorted((f for f in state.files if f.began_s is not None), key=lambda f: f.size, reverse=True)
    shown = sorted(files[:_MOST_ROWS], key=lambda f: (f.began_s or 0.0, f.path))
    end = max([state.elapsed_s, *(f.ended_s or 0.0 for f in shown), 1e-3])
    points = rates([*state.samples, ThroughputSample(state.elapsed_s, state.bytes_from_source, state.bytes_done)])
    highest = max((rate for _, rate in points), default=0.0) * 1.1 or 1.0
    top = _TOP + _ROW * len(shown) + _TOP
    axes = Axes(_LEFT, _WIDTH - _RIGHT, top, top + _LINE_HEIGHT, end, highest)
    title = "Files" if len(files) <= _MOST_ROWS else f"The {_MOST_ROWS} largest of {len(files)} files"
    parts = [text(8, 16, title, bold=True)]
    for number, (how, colour) in enumerate(_COLOURS.items()):
        parts.append(text(axes.right - 85 * number, 16, f"■ {how}", "end", colour))
    parts += [_bar(file, axes, _TOP + _ROW * row) for row, file in enumerate(shown)]
    parts += [text(8, top, "In the store, MiB/s", bold=True), axes.grid(), axes.line(points, BLUE)]
    parts.append(axes.ticks([(end * share, f"{end * share:.1f}") for share in (0, 0.25, 0.5, 0.75, 1)], "seconds"))
    return document(_WIDTH, top + _LINE_HEIGHT + _AXIS, *parts)


def rates(samples: Sequence[ThroughputSample]) -> list[tuple[float, float]]:
    """Return pairs of seconds from the start and MiB/s since the sample before."""
    before = ThroughputSample(0.0, 0, 0)
    found: list[tuple[float, float]] = []
    for sample in samples:
        took = sample.at_s - before.at_s
        if took > 0:
            found.append((sample.at_s, (sample.bytes_done - before.bytes_done) / MIB / took))
            before = sample
    return found


def _bar(file: FileProgress, axes: Axes, y: int) -> str:
    begin = axes.x(file.began_s or 0.0)
    width = max(1.5, axes.x(file.ended_s if file.ended_s is not None else axes.x_max) - begin)
    name = file.path if len(file.path) <= _LONGEST_NAME else "…" + file.path[1 - _LONGEST_NAME :]
    hint = escape(f"{file.path}: {file.size} bytes, {file.how}")
    bar = f'<rect x="{begin:.1f}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 5}" fill="{_COLOURS[file.how]}">'
    return f"{text(axes.left - 8, y + 11, name, 'end')}{bar}<title>{hint}</title></rect>"
