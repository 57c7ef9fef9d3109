"""The dashboards as files: up to date, in order, and about metrics that exist."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from genai_pipeline.agent.agent_metrics import AgentMetrics
from genai_pipeline.core.clock_reasons import SERIES
from genai_pipeline.core.model_spec import ModelSpec
from genai_pipeline.gateways.metrics.names import ASKED_FOR_BY_USERS
from genai_pipeline.observability import series
from genai_pipeline.observability.boards.every_board import written
from genai_pipeline.observability.dashboard_files import DASHBOARDS, dashboard_files
from genai_pipeline.observability.recordings import FIRST_OUTPUT, FIRST_OUTPUT_BOUNDS, gates_of, recordings_of
from tests.fakes import simulated_exporters
from tests.fakes.promql import expressions, names, selectors

RECORDED = Path(__file__).parents[2] / "fakes" / "recorded_metrics"
SPEC = ModelSpec.model_validate({"name": "weather", "source": {"hub": "owner/name"}})
EVERYTHING = {
    "gates": {"serving": {"latency_p95_ms": 9000, "usd_per_million_tokens_max": 5}},
    "name": "weather",
    "source": {"hub": "owner/name"},
}
each_dashboard = pytest.mark.parametrize("file", dashboard_files(), ids=lambda file: file.stem)


@cache
def made() -> dict[str, str]:
    pytest.importorskip("ray")
    return dict(written())


def test_the_files_are_what_the_code_makes_or_make_dashboards_was_forgotten():
    assert {file.name: file.read_text() for file in DASHBOARDS.iterdir()} == made()


@each_dashboard
def test_panels_lie_on_the_grid_and_do_not_overlap(file: Path):
    taken: set[tuple[int, int]] = set()
    for panel in panels(file):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@each_dashboard
def test_numbers_of_panels_and_letters_of_queries_are_used_once(file: Path):
    numbers = [panel["id"] for panel in panels(file)]
    letters = [[target["refId"] for target in panel.get("targets", [])] for panel in panels(file)]

    assert len(set(numbers)) == len(numbers)
    assert all(len(set(each)) == len(each) for each in letters)


@each_dashboard
def test_every_board_has_the_same_variables_and_marks(file: Path):
    data = json.loads(file.read_text())

    assert [v["name"] for v in data["templating"]["list"]] == ["datasource", "namespace", "model", "release"]
    assert [mark["name"] for mark in data["annotations"]["list"]] == ["Cut-over", "Rollback"]
    assert f"{data['uid']}.json" == file.name


@each_dashboard
def test_every_expression_is_promql_about_one_namespace(file: Path):
    for title, expr in expressions(file):
        for selector in selectors(expr):
            labels = {m.name: m.value for m in selector.matchers.matchers}
            assert "genai" in (labels.get("namespace"), labels.get("exported_namespace")), (title, expr)


@each_dashboard
def test_every_metric_exists_where_it_comes_from(file: Path):
    unknown = {name for _, expr in expressions(file) for name in names(expr)} - known()

    assert {name for name in unknown if not name.startswith("ray_") or "ray-serve" not in file.stem} == set()


@pytest.mark.parametrize("prefix", ["ray_vllm_", "vllm_"])
def test_an_engines_metric_is_asked_for_by_all_its_names(prefix: str):
    assert prefix + "num_requests_running" in names(series.engine("num_requests_running"))


def test_the_installed_vllm_still_has_the_metrics_that_the_recorded_one_had():
    sources = source_of("vllm", "v1/metrics")
    plain = {name for name in asked_for() if name.startswith("vllm:")}

    assert len(plain) > 20
    assert {name for name in plain if f'"{bare(name)}"' not in sources} == set()


def test_ray_itself_shows_the_counter_of_answers_that_rules_and_watch_read():
    shown = {name for _, expr in expressions(DASHBOARDS / "genai-ray-serve.json") for name in names(expr)}

    assert series.PROXY_RESPONSES in shown


def test_the_bounds_of_the_first_output_are_those_of_the_engine():
    text = (RECORDED / "vllm_0_32.txt").read_text()
    recorded = re.findall(rf'{FIRST_OUTPUT}_bucket{{.*?le="([^"+]+)"', text)

    assert [float(bound) for bound in recorded] == list(FIRST_OUTPUT_BOUNDS)


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/models", "/v1/models/weather", "/score", "/metrics", "/v2/rerank", "/drain", "none"],
)
def test_rules_and_watch_count_the_same_answers(path: str):
    counted = bool(re.fullmatch(series.USER_HANDLERS, path)) and not re.fullmatch(series.OTHER_HANDLERS, path)

    assert counted == bool(ASKED_FOR_BY_USERS.match(path))


def test_every_gate_that_a_board_draws_is_recorded():
    drawn = {
        matcher.value
        for file in dashboard_files()
        for _, expr in expressions(file)
        for selector in selectors(expr)
        for matcher in selector.matchers.matchers
        if matcher.name == "gate"
    }

    assert drawn == gates_of(ModelSpec.model_validate(EVERYTHING)).keys()


def test_a_gate_is_recorded_in_seconds_with_the_model_that_has_it():
    (rule,) = [r for r in recordings_of(SPEC, "genai") if r.get("labels", {}).get("gate") == "first_output_p95_s"]

    assert rule["expr"] == "vector(0.8)"
    assert rule["labels"]["model"] == "weather"


def panels(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["panels"]


@cache
def asked_for() -> set[str]:
    return {name for file in dashboard_files() for _, expr in expressions(file) for name in names(expr)}


def bare(name: str) -> str:
    """Return the name as a client library is given it."""
    return re.sub(r"_(total|bucket|sum|count)$", "", name)


@cache
def known() -> set[str]:
    vllm = set(re.findall(r"^([a-z0-9_:]+)(?=[{ ])", (RECORDED / "vllm_0_32.txt").read_text(), re.M))
    escaped = {name.replace("vllm:", prefix) for name in vllm for prefix in ("vllm_", "ray_vllm_")}
    dcgm = set(re.findall(r"^(DCGM_\w+)", (RECORDED / "dcgm_4_5_3.txt").read_text(), re.M))
    recorded = {rule["record"] for rule in recordings_of(SPEC, "genai")}
    return {
        "up",
        "ray_serve_num_http_requests_total",
        *vllm,
        *escaped,
        *dcgm,
        *SERIES,
        *recorded,
        *of_the_agent(),
        *of_releases(),
    }


def of_the_agent() -> Iterator[str]:
    for family in AgentMetrics(frozenset(), lambda: 0).registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        yield from (family.name + suffix for suffix in suffixes)


def of_releases() -> set[str]:
    return set(re.findall(r"^(genai_\w+)", simulated_exporters.releases(), re.M))


def source_of(package: str, folder: str) -> str:
    """Return the source of a folder of an installed package, without importing it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    return "\n".join(file.read_text() for file in sorted((Path(found.origin).parent / folder).rglob("*.py")))
