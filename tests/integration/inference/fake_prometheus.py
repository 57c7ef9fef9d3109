"""Prometheus' HTTP API as far as the gateway asks it, with a clock that the test winds."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

Series = tuple[dict[str, str], float]
"""Labels with `__name__`, value."""


class FakePrometheus:
    """`scrape(series)` replaces what it knows, at the current time; `queries` holds what it was asked."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.series: list[Series] = []
        self.scraped_at = 0.0
        self.queries: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.error = ""
        self.garbage = b""
        self.status = 200
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                fake.headers.append(dict(self.headers))
                body = fake.garbage or json.dumps(fake.answer(form["query"][0], form.get("time", [None])[0])).encode()
                head = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n" % (fake.status, len(body))
                self.wfile.write(head + body)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakePrometheus:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def scrape(self, series: list[Series]) -> None:
        self.series, self.scraped_at = series, self.now

    def answer(self, query: str, at: str | None) -> dict[str, Any]:
        self.queries.append((query, at))
        if self.error:
            return {"status": "error", "errorType": "bad_data", "error": self.error}
        if query == "time()":
            return {"status": "success", "data": {"resultType": "scalar", "result": [self.now, str(self.now)]}}
        found = [series for series in self.series if _selected(query, series[0])]
        if query.startswith("min(timestamp("):
            on_ray = any(labels["__name__"].startswith("ray_") for labels, _ in found)
            lag = re.search(r"- (\d+)\)$", query) if on_ray else None
            result = [({}, self.scraped_at - float(lag[1] if lag else 0))] if found else []
        elif query.startswith("sum by"):
            result = _grouped(found, _by(query), sum)
        elif query.startswith("max by"):
            result = _grouped(found, _by(query), max)
        else:
            result = found
        vector = [{"metric": labels, "value": [self.now, str(value)]} for labels, value in result]
        return {"status": "success", "data": {"resultType": "vector", "result": vector}}


def _by(query: str) -> tuple[str, ...]:
    return tuple(re.search(r"by \(([^)]*)\)", query)[1].split(", "))


def _selected(query: str, labels: dict[str, str]) -> bool:
    selectors = re.findall(r"\{([^}]*)\}", query)
    return any(_matches(selector, labels) for selector in selectors)


def _matches(selector: str, labels: dict[str, str]) -> bool:
    for label, operator, value in re.findall(r'(\w+)(=~|=)"([^"]*)"', selector):
        have = labels.get(label, "")
        if not (re.fullmatch(value, have) if operator == "=~" else value == have):
            return False
    return True


def _grouped(series: list[Series], by: tuple[str, ...], fold: Callable[[list[float]], float]) -> list[Series]:
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for labels, value in series:
        groups.setdefault(tuple((k, labels[k]) for k in by if k in labels), []).append(value)
    return [(dict(key), fold(values)) for key, values in groups.items()]
