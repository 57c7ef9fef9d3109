"""The parts of every dashboard: graphs, figures, tables, and the board around them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common as shape
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as kinds
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from genai_pipeline.observability.recordings import GATE, WATCH_LIMIT
from genai_pipeline.observability.series import equals, selector

NAMESPACE, MODEL, RELEASE = 'namespace="$namespace"', 'model=~"$model"', 'release=~"$release"'
OURS = (NAMESPACE, MODEL, RELEASE)
RATE = "$__rate_interval"
TAG = "genai-pipeline"
SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
SWITCHES = "genai_last_switch_timestamp_seconds"
WHOLE, HALF, THIRD = 24, 12, 8

Panel = Builder[kinds.Panel]
Row = tuple[str, Sequence[Panel]]


@dataclass(frozen=True)
class Line:
    """One query of a graph, and how its series are named."""

    expr: str
    legend: str


def gate_line(gate: str) -> Line:
    """Return the line of a gate of the model file."""
    return Line(selector(GATE, NAMESPACE, MODEL, equals("gate", gate)), "gate {{model}}")


def watch_line(limit: str) -> Line:
    """Return the line of a limit of the watch after a promotion."""
    return Line(selector(WATCH_LIMIT, NAMESPACE, MODEL, equals("limit", limit)), "limit of the watch {{model}}")


def graph(
    title: str,
    unit: str,
    *lines: Line,
    why: str,
    gate: str = "",
    watch: str = "",
    limits: Sequence[float] = (),
    width: int = HALF,
) -> Panel:
    """Return a graph over time.

    Args:
        why: what the reader learns from it.
        gate: name of the gate that is drawn as a dashed red line.
        watch: name of the limit of the watch that is drawn as a dashed orange line.
        limits: fixed values that are drawn as dashed lines.
    """
    panel = timeseries.Panel().title(title).description(why).unit(unit).datasource(SOURCE).span(width).height(8).min(0)
    panel = panel.line_width(1).fill_opacity(8).show_points(shapes.VisibilityMode.NEVER)
    panel = panel.legend(
        shape.VizLegendOptions()
        .display_mode(shapes.LegendDisplayMode.LIST)
        .placement(shapes.LegendPlacement.BOTTOM)
        .show_legend(True)
    )
    panel = panel.tooltip(
        shape.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
    )
    drawn = [*lines, *([gate_line(gate)] if gate else []), *([watch_line(watch)] if watch else [])]
    for at, line in enumerate(drawn):
        panel = panel.with_target(_query(line, at))
    panel = panel.override_by_regexp("/^gate /", _as_limit("red")) if gate else panel
    panel = panel.override_by_regexp("/^limit of the watch /", _as_limit("orange")) if watch else panel
    if limits:
        steps = [kinds.Threshold(value=None, color="transparent"), *(kinds.Threshold(limit, "red") for limit in limits)]
        panel = panel.thresholds(_steps(steps)).thresholds_style(
            shape.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def figure(title: str, unit: str, expr: str, why: str, width: int = 4, bad_above: float | None = None) -> Panel:
    """Return one number, with its course behind it."""
    steps = [kinds.Threshold(value=None, color="green")]
    if bad_above is not None:
        steps.append(kinds.Threshold(value=bad_above, color="red"))
    panel = stat.Panel().title(title).description(why).unit(unit).datasource(SOURCE).span(width).height(4)
    panel = panel.thresholds(_steps(steps)).graph_mode(shapes.BigValueGraphMode.AREA)
    panel = panel.reduce_options(shape.ReduceDataOptions().calcs(["lastNotNull"]))
    return panel.with_target(_query(Line(expr, "{{model}} {{release}}"), 0))


def rows_of(
    title: str, expr: str, columns: Sequence[str], why: str, width: int = HALF, unit: str = "short", height: int = 8
) -> Panel:
    """Return a table with a row for each series, now.

    Args:
        columns: labels to show, in this order, and `Value` for the value.
    """
    query = _query(Line(expr, ""), 0).format(PromQueryFormat.TABLE).instant()
    order = {"includeByName": dict.fromkeys(columns, True), "indexByName": {name: i for i, name in enumerate(columns)}}
    organize = kinds.DataTransformerConfig(id_val="organize", options=order)
    panel = table.Panel().title(title).description(why).unit(unit).datasource(SOURCE).span(width).height(height)
    return panel.with_target(query).with_transformation(organize)


def spread(title: str, unit: str, buckets: str, why: str, width: int = HALF) -> Panel:
    """Return a heat map of a histogram's buckets."""
    panel = heatmap.Panel().title(title).description(why).datasource(SOURCE).span(width).height(8)
    panel = panel.y_axis(heatmap.YAxisConfig().unit(unit))
    return panel.with_target(_query(Line(buckets, "{{le}}"), 0).format(PromQueryFormat.HEATMAP))


def board(uid: str, title: str, description: str, rows: Sequence[Row]) -> kinds.Dashboard:
    """Return a dashboard with the variables, the marks of releases and the links that all of them have."""
    made = build.Dashboard(title).uid(uid).description(description).tags([TAG]).timezone("browser").readonly()
    made = made.refresh("30s").time("now-1h", "now").tooltip(kinds.DashboardCursorSync.CROSSHAIR)
    made = made.link(
        build.DashboardLink("Dashboards")
        .type(kinds.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    for variable in _variables():
        made = made.with_variable(variable)
    for name, kind, color in (("Cut-over", "cutover", "blue"), ("Rollback", "rollback", "red")):
        moved = f"{selector(SWITCHES, NAMESPACE, MODEL, equals('kind', kind))} * 1000"
        made = made.annotation(
            build.AnnotationQuery().name(name).enable(True).datasource(SOURCE).icon_color(color).expr(moved)
        )
    for heading, panels in rows:
        made = made.with_row(build.Row(heading))
        for panel in panels:
            made = made.with_panel(panel)
    return made.build()


def to_json(made: kinds.Dashboard) -> str:
    """Return the file of a dashboard."""
    data: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(made))
    for number, panel in enumerate(data["panels"], 1):
        panel["id"] = number
    for mark in data["annotations"]["list"]:
        # Grafana's Prometheus source takes the value as the time; the SDK has no word for it.
        mark |= {"useValueForTime": True, "titleFormat": f"{mark['name']} of {{{{model}}}}", "tagKeys": "model"}
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _query(line: Line, at: int) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(line.expr).legend_format(line.legend).ref_id(chr(ord("A") + at))
    return query.datasource(SOURCE)


def _steps(steps: list[kinds.Threshold]) -> build.ThresholdsConfig:
    return build.ThresholdsConfig().mode(kinds.ThresholdsMode.ABSOLUTE).steps(steps)


def _as_limit(color: str) -> list[kinds.DynamicConfigValue]:
    properties = {
        "color": {"mode": "fixed", "fixedColor": color},
        "custom.lineStyle": {"fill": "dash", "dash": [8, 6]},
        "custom.fillOpacity": 0,
    }
    return [kinds.DynamicConfigValue(id_val=name, value=value) for name, value in properties.items()]


def _variables() -> list[Any]:
    def asked(name: str, *matchers: str) -> build.QueryVariable:
        query = f"label_values({selector('up', *matchers)}, {name})"
        return (
            build.QueryVariable(name)
            .datasource(SOURCE)
            .query(query)
            .refresh(kinds.VariableRefresh.ON_TIME_RANGE_CHANGED)
        )

    several = ('model!=""', 'release!=""')
    return [
        build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        asked("namespace", *several),
        asked("model", NAMESPACE, *several).include_all(True).multi(True).all_value(".*"),
        asked("release", NAMESPACE, MODEL, *several).include_all(True).multi(True).all_value(".*"),
    ]
