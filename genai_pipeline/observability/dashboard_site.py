"""The page of dashboards on one machine. It draws the JSON that Grafana reads, from the Prometheus that runs here.

```
/, /d/<name>               the page. Grafana has a dashboard at the same path.
/dashboards                names and titles.
/dashboards/<name>.json    a dashboard, as Grafana reads it.
/page/…                    its scripts and styles, and uPlot with its licence.
/prometheus/api/v1/…       four queries of Prometheus' API, passed on: it lets no other page ask it.
```
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from genai_pipeline.observability.dashboard_files import dashboard_files
from genai_pipeline.observability.exporter_site import JSON, App, Environ, answered

PAGE = Path(__file__).parent / "page"
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", "": "text/plain"}
MAY_ASK = re.compile(r"/api/v1/(query|query_range|series|label/\w+/values)")
ANSWERS_WITHIN_S = 30.0
PLAIN = "text/plain; charset=utf-8"


def dashboard_pages(prometheus_url: str | None) -> dict[str, App]:
    """Return the pages by their paths.

    Args:
        prometheus_url: None where there is no Prometheus. The page says so then.
    """
    return {
        "/": _page,
        "/d": _page,
        "/page": _static,
        "/dashboards": _dashboards,
        "/prometheus": _passed_on(prometheus_url),
    }


def _page(environ: Environ, start: Any) -> Iterable[bytes]:
    return _file(start, PAGE / "dashboards.html")


def _static(environ: Environ, start: Any) -> Iterable[bytes]:
    below = environ["PATH_INFO"].removeprefix("/page/")
    known = {str(path.relative_to(PAGE)): path for path in PAGE.rglob("*") if path.is_file()}
    if below not in known:
        return answered(start, "404 Not Found", PLAIN, b"not found")
    return _file(start, known[below])


def _file(start: Any, path: Path) -> Iterable[bytes]:
    return answered(start, "200 OK", f"{KINDS.get(path.suffix, PLAIN)}; charset=utf-8", path.read_bytes())


def _dashboards(environ: Environ, start: Any) -> Iterable[bytes]:
    files = {f"/dashboards/{file.name}": file for file in dashboard_files()}
    path = environ["PATH_INFO"].rstrip("/")
    if path == "/dashboards":
        listed = [{"name": file.stem, "title": json.loads(file.read_text())["title"]} for file in files.values()]
        return answered(start, "200 OK", JSON, json.dumps(listed).encode())
    if path not in files:
        return answered(start, "404 Not Found", PLAIN, b"not found")
    return answered(start, "200 OK", JSON, files[path].read_bytes())


def _passed_on(prometheus_url: str | None) -> App:
    client = httpx.Client(timeout=ANSWERS_WITHIN_S, trust_env=False)

    def app(environ: Environ, start: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"].removeprefix("/prometheus")
        if environ["REQUEST_METHOD"] != "GET" or not MAY_ASK.fullmatch(path):
            return answered(start, "404 Not Found", PLAIN, b"not found")
        if prometheus_url is None:
            said = (
                "There is no Prometheus on this machine, so there is nothing to draw. `genai status` says what to do."
            )
            return answered(start, "503 Service Unavailable", PLAIN, said.encode())
        try:
            found = client.get(f"{prometheus_url}{path}?{environ['QUERY_STRING']}")
        except httpx.HTTPError as error:
            said = f"Prometheus at {prometheus_url} does not answer: {error}. `genai status` shows whether it runs."
            return answered(start, "502 Bad Gateway", PLAIN, said.encode())
        return answered(start, f"{found.status_code} Answer", JSON, found.content)

    return app
