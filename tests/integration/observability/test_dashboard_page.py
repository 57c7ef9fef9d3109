"""The page of dashboards in a real browser, over a real Prometheus that scrapes simulated exporters."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_pipeline.local.ports import free_port
from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.dashboard_site import PAGE, dashboard_pages
from genai_pipeline.observability.exporter_site import serving
from tests.fakes.prometheus import Prometheus, needs_prometheus
from tests.fakes.promql import expressions

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian: apt-get install chromium)")
DEADLINE_S = 120


@pytest.fixture(scope="module")
def site(prometheus: Prometheus) -> Iterator[str]:
    """The page, once every query of every dashboard has data."""
    everything = [expr for file in dashboard_files() for _, expr in expressions(file)]
    end = time.monotonic() + DEADLINE_S
    while everything and time.monotonic() < end:
        everything = [expr for expr in everything if not prometheus.query(expr)]
        time.sleep(0.5 if everything else 0)
    port = free_port()
    with serving("127.0.0.1", port, dashboard_pages(prometheus.url)):
        yield f"http://127.0.0.1:{port}"


def drawn(url: str, folder: Path) -> str:
    """Return the page as the browser has it once it is drawn."""
    assert BROWSER
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={folder}",
        "--window-size=1400,1900",
    ]
    command = [BROWSER, *options, "--virtual-time-budget=20000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True).stdout


def states(page: str) -> dict[str, str]:
    """Return panel -> data, empty or error."""
    sections = re.findall(r"<section[^>]*data-panel=[^>]*>", page)
    attributes = [dict(re.findall(r'data-(panel|state)="([^"]*)"', section)) for section in sections]
    return {found["panel"]: found.get("state", "not drawn") for found in attributes}


@needs_prometheus
@needs_browser
@pytest.mark.parametrize("file", dashboard_files(), ids=lambda file: file.stem)
def test_every_panel_of_every_dashboard_is_drawn_with_data(site: str, file: Path, tmp_path: Path):
    panels = {p["title"]: p["type"] for p in json.loads(file.read_text())["panels"] if p["type"] != "row"}

    page = drawn(f"{site}/d/{file.stem}?range=900", tmp_path)

    assert states(page) == dict.fromkeys(panels, "data")
    graphs = sum(kind in ("timeseries", "heatmap") for kind in panels.values())
    assert page.count("<canvas") == graphs


@needs_prometheus
@needs_browser
def test_a_cut_over_and_a_rollback_are_marks(site: str, tmp_path: Path):
    assert 'data-marks="2"' in drawn(f"{site}/?range=900", tmp_path)


@needs_prometheus
@needs_browser
def test_a_model_and_a_release_can_be_chosen(site: str, tmp_path: Path):
    page = drawn(f"{site}/d/genai-service?var-model=weather&var-release=b&range=900", tmp_path)

    assert '<option value="weather"' in page
    legends = re.findall(r">(weather [ab])<", page)
    assert set(legends) == {"weather b"}


@needs_prometheus
@needs_browser
def test_what_all_series_of_a_panel_have_in_common_is_not_said_of_each(site: str, tmp_path: Path):
    """Three releases have long names, and a third of the page has room for two in a row."""
    page = drawn(f"{site}/d/genai-service?range=900", tmp_path)

    assert set(re.findall(r">(p95 [^<]*)<", page)) == {"p95 a", "p95 b"}
    assert {"gate", "limit of the watch"} <= set(re.findall(r">([a-z ]+)<", page))


@needs_browser
def test_without_a_prometheus_the_page_says_what_to_do(tmp_path: Path):
    port = free_port()
    with serving("127.0.0.1", port, dashboard_pages(None)):
        page = drawn(f"http://127.0.0.1:{port}/", tmp_path)

    assert 'data-state="failed"' in page
    assert "There is no Prometheus on this machine" in page


@pytest.mark.parametrize(
    "path",
    [
        "/prometheus/api/v1/admin/tsdb/snapshot",
        "/prometheus/-/reload",
        "/prometheus/api/v1/query/../admin",
        "/page/../exporter.py",
        "/page/%2e%2e/exporter.py",
        "/dashboards/../exporter.py",
    ],
)
def test_nothing_else_of_this_machine_is_served(path: str):
    port = free_port()
    with (
        serving("127.0.0.1", port, dashboard_pages("http://127.0.0.1:9")),
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10)

    assert refused.value.code == 404


def test_a_prometheus_that_does_not_answer_is_named():
    port, away = free_port(), f"http://127.0.0.1:{free_port()}"
    with (
        serving("127.0.0.1", port, dashboard_pages(away)),
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/prometheus/api/v1/query?query=up", timeout=10)

    assert refused.value.code == 502
    assert away in refused.value.read().decode()


def test_uplot_is_shipped_with_its_licence():
    assert (PAGE / "uplot-1.6.32" / "LICENSE").read_text().startswith("The MIT License (MIT)")
